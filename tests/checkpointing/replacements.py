"""Saving a step again, also in a process that ends without a word in the middle of it."""

import os
from pathlib import Path

from checkpointing.tiny_runs import make_checkpointer, make_state, one_gloo_rank, save_now

from oarlock_trainer.state import TrainingState


def save_with_metric(checkpoints: Path, *, attempt: int = 1) -> TrainingState:
    """Save the latest step again, now with a metric."""
    checkpointer, state = make_checkpointer(checkpoints.parent, attempt=attempt), make_state()
    checkpointer.load_latest(state)
    state.counters["validatedStep"] = 1.0
    save_now(checkpointer, state, metric=0.5)
    return state


def replace_and_die(checkpoints: Path, last_rename: int) -> None:
    """Save the latest step again, and exit with 9 just before one of the renames, else with 7."""
    with one_gloo_rank():
        _die_before_rename(last_rename)
        save_with_metric(checkpoints)
    os._exit(7)


def _die_before_rename(number: int) -> None:
    rename, renames = Path.rename, iter(range(99))

    def die_or_rename(path: Path, target: Path) -> Path:
        if "checkpoints" in str(path) and next(renames) == number:
            os._exit(9)
        return rename(path, target)

    Path.rename = die_or_rename  # type: ignore[method-assign]  # in a process that ends soon
