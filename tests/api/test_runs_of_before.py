"""A run that the operator before froze goes on with the trainer of its own time, which refuses fields that it does not know.

run_before.json holds a run as it stands in a status, what that operator sent to the pods, and the fields that their trainer reads.
"""

import json
from pathlib import Path
from typing import Any

from api.test_resolve import run_of

from oarlock_api.run import Run, WorkerRun, build_worker_run

BEFORE: dict[str, Any] = json.loads(Path(__file__).with_name("run_before.json").read_text())


def test_pods_of_a_run_from_before_get_what_they_got_before() -> None:
    sent = build_worker_run(Run.from_wire(BEFORE["run"])).to_wire()

    assert sent == BEFORE["sent"]
    assert set(list_fields(sent)) <= set(BEFORE["known"])


def test_pods_of_a_run_of_today_get_every_default_that_is_frozen() -> None:
    run = run_of()
    sent = build_worker_run(Run.from_wire(run.to_wire())).to_wire()

    assert sent == build_worker_run(run).to_wire()
    assert sent["recipe"] == run.to_wire()["recipe"]
    assert WorkerRun.from_wire(sent) == build_worker_run(run)


def list_fields(part: dict[str, Any], path: str = "") -> list[str]:
    inner = [list_fields(value, f"{path}{key}.") for key, value in part.items() if isinstance(value, dict)]
    return [*(path + key for key in part), *(field for fields in inner for field in fields)]
