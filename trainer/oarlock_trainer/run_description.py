"""What a run is about, written beside its log when it starts: for the report, long after the pods and the data set are gone."""

import json
import os
import re
from pathlib import Path
from typing import Any

from oarlock_api.contract import POD_NAME_ENV
from oarlock_trainer.datasets import StoredDataset
from oarlock_trainer.errors import StorageError
from oarlock_trainer.reports import DESCRIPTION_NAME
from oarlock_trainer.state import CheckpointedRun

_POD_NAME = re.compile(r"(?P<job>.+)-[0-9a-f]{8}-\d+-\d+")


def write_description(run_dir: Path, run: CheckpointedRun, dataset: StoredDataset | None) -> None:
    """Write `run.json`, complete or not at all; a program of the user's may have no data set.

    Raises:
        StorageError: if the volume refuses.
    """
    pod = _POD_NAME.fullmatch(os.environ.get(POD_NAME_ENV, ""))
    description = {"job": pod["job"] if pod else "", "run": run.to_wire(), "dataset": _describe_dataset(dataset)}
    path = run_dir / DESCRIPTION_NAME
    unfinished = path.with_name(path.name + ".partial")
    try:
        unfinished.write_text(json.dumps(description, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        raise StorageError.from_os_error(error, doing="describing the run", path=path) from error


def _describe_dataset(dataset: StoredDataset | None) -> dict[str, Any]:
    if dataset is None:
        return {}
    facts = dataset.manifest.to_wire()
    kept = (
        "version",
        "task",
        "classes",
        "input",
        "target",
        "counts",
        "classCounts",
        "mean",
        "std",
        "remarks",
        "madeFrom",
    )
    return {**{name: facts[name] for name in kept if facts.get(name)}, "rejected": len(dataset.manifest.rejects)}
