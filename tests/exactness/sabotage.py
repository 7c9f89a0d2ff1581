"""A trainer in a forked process, broken in one way: what it breaks is what makes a resumed run exact.

A comparison that does not notice proves nothing.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from training.small_runs import run_trainer

from oarlock_api.contract import PodPhase
from oarlock_trainer.averaging import WeightAverage
from oarlock_trainer.batches import Batches
from oarlock_trainer.checkpoints import entries
from oarlock_trainer.rank_record import RankRecord


def forget_random_states() -> None:
    replace(entries, "restore_rng", lambda *_: None)


def skip_a_batch() -> None:
    """Resume with the data of the step after the next, as a trainer does that counts what a loader had prefetched."""
    at: Callable[[Any, int], Any] = Batches.at
    replace(Batches, "at", lambda batches, step: at(batches, step + 1))


def forget_moments() -> None:
    replace(entries, "_restore_optimizer", lambda *_: None)


def forget_how_far_the_average_is() -> None:
    replace(WeightAverage, "load", lambda *_, **__: None)


def replace(owner: Any, name: str, stand_in: Any) -> None:
    """Set an attribute that there is.

    Raises:
        AttributeError: it has gone, and nothing would be broken.
    """
    getattr(owner, name)
    setattr(owner, name, stand_in)


SABOTAGE: dict[str, Callable[[], None]] = {
    "nothing": lambda: None,
    "random states": forget_random_states,
    "batch": skip_a_batch,
    "moments": forget_moments,
    "average": forget_how_far_the_average_is,
}


def train_sabotaged(environment: dict[str, str], sabotage: str) -> str:
    """Train to the end in this process, and return the outcome."""
    SABOTAGE[sabotage]()
    return str(run_trainer(environment).outcome)


def train_until_killed(environment: dict[str, str], step: int) -> None:
    """Train in this process, which SIGKILL ends once so many steps are done: nothing is tidied up."""
    beat = RankRecord.beat

    def die_at(self: RankRecord, phase: PodPhase, **how: Any) -> None:
        beat(self, phase, **how)
        if (how.get("step") or 0) >= step:
            os.kill(os.getpid(), signal.SIGKILL)

    replace(RankRecord, "beat", die_at)
    run_trainer(environment)


def describe_run(run: str, *, data: Path, run_dir: Path) -> dict[str, str]:
    """Return the variables of a run, given as JSON."""
    variables = {"RUN": run, "DATA_DIR": str(data), "RUN_DIR": str(run_dir), "JOB_UID": "uid", "CPUS": "1"}
    return {f"OARLOCK_{name}": value for name, value in variables.items()}
