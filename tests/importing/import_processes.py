"""Imports in processes of their own, as pods run them."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from importing.made_sources import volume_spec

from oarlock_api.v1alpha1.dataset import DatasetSpec
from oarlock_trainer.rank_record import RankReading, read_rank_record

MAIN = [sys.executable, "-m", "oarlock_trainer.importing"]
PHOTO = volume_spec(image={"width": 320, "height": 320})
"""Shards of about fifty images: many from few."""


class Import:
    """An import in a process of its own."""

    def __init__(
        self, root: Path, *, source: Path, spec: DatasetSpec | None = None, variables: dict[str, str] | None = None
    ) -> None:
        self.data, self.records = root / "data" / "made-1", root / "records"
        run = {"name": "made", "workers": 2, "spec": (spec or volume_spec()).to_wire()}
        self.environment = {
            **os.environ,
            "OARLOCK_RUN": json.dumps(run),
            "OARLOCK_DATA_DIR": str(self.data),
            "OARLOCK_SOURCE_DIR": str(source),
            "OARLOCK_SCRATCH_DIR": str(root / "scratch"),
            "OARLOCK_RANK_RECORD_DIR": str(self.records),
            **(variables or {}),
        }

    def run(self, command: list[str] = MAIN) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=300, check=False)

    def start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(MAIN, env=self.environment, stderr=subprocess.DEVNULL)

    @property
    def reading(self) -> RankReading:
        reading = read_rank_record(self.records / "0.record")
        assert reading is not None
        return reading

    @property
    def workspace(self) -> Path:
        return next(self.data.glob(".importing-*"))

    def wait_for_shard(self) -> None:
        deadline = time.monotonic() + 240
        while not list(self.data.glob(".importing-*/*.done")):
            assert time.monotonic() < deadline, "no shard was finished"
            time.sleep(0.005)

    @property
    def versions(self) -> list[Path]:
        return list(self.data.glob("[!.]*"))
