"""What only several ranks can show. Prints one JSON object, an answer for each question.

python two_ranks_program.py FOLDER
"""

import json
import os
import random
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from checkpointing.forked_ranks import run_ranks
from checkpointing.tiny_runs import (
    flip_byte,
    list_steps,
    make_checkpointer,
    make_state,
    same_bits,
    save_now,
    snapshot,
    train_step,
)

from oarlock_trainer.checkpoints.manifest import read_manifest
from oarlock_trainer.errors import TrainerError


def train_and_save(run_dir: Path, rank: int, *, steps: int = 2) -> dict[str, Any]:
    """Take equal steps on both ranks, as data-parallel training does, then let their random states and buffers differ."""
    state, checkpointer = make_state(), make_checkpointer(run_dir)
    for _ in range(steps):
        train_step(state)
    state.model.get_buffer("1.running_mean").add_(rank)
    random.seed(rank)
    np.random.seed(rank)  # noqa: NPY002
    torch.manual_seed(rank)
    result = save_now(checkpointer, state)
    return {"state": snapshot(state), "draws": draw(), "step": result.facts.step, "latest": checkpointer.latest}


def draw() -> list[float]:
    return [random.random(), float(np.random.random()), torch.rand(1).item()]  # noqa: NPY002


def load_and_draw(run_dir: Path, _rank: int) -> dict[str, Any]:
    state = make_state(seed=7)
    loaded = make_checkpointer(run_dir).load_latest(state)
    assert loaded is not None
    return {"state": snapshot(state), "draws": draw(), "warnings": loaded.warnings, "step": loaded.facts.step}


def tell_error(act: Callable[[], Any]) -> str:
    try:
        act()
    except TrainerError as error:
        return f"{error.cause}: {error}"
    return "no error"


def save_on_a_volume_that_one_rank_cannot_write(run_dir: Path, rank: int) -> str:
    if rank == 1:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    state = make_state()
    train_step(state)
    checkpointer = make_checkpointer(run_dir)
    return tell_error(lambda: save_now(checkpointer, state))


def save_while_the_other_rank_dies(run_dir: Path, rank: int) -> str:
    state = make_state()
    train_step(state)
    checkpointer = make_checkpointer(run_dir)
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return tell_error(lambda: save_now(checkpointer, state))


def main() -> None:
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    run_dir = folder / "run"
    saved = run_ranks(2, folder / "a", lambda rank: train_and_save(run_dir, rank))
    manifest = read_manifest(run_dir / "checkpoints/step-000000002")
    both = run_ranks(2, folder / "b", lambda rank: load_and_draw(run_dir, rank))
    alone = run_ranks(1, folder / "c", lambda rank: load_and_draw(run_dir, rank))
    three = run_ranks(3, folder / "d", lambda rank: load_and_draw(run_dir, rank))
    run_ranks(2, folder / "e", lambda rank: train_and_save(run_dir, rank, steps=3))
    flip_byte(run_dir / "checkpoints/step-000000003/__1_0.distcp")
    damaged = run_ranks(2, folder / "f", lambda rank: load_and_draw(run_dir, rank))
    refused = run_ranks(2, folder / "g", lambda rank: save_on_a_volume_that_one_rank_cannot_write(folder / "h", rank))
    widowed = run_ranks(2, folder / "i", lambda rank: save_while_the_other_rank_dies(folder / "j", rank))
    expected = saved[0]["state"]
    answers = {
        "steps_reported": [answer["step"] for answer in saved],
        "latest_is_known_to_all": [answer["latest"] == saved[0]["latest"] for answer in saved],
        "shares": {file.name: file.bytes for file in manifest.files},
        "state_of_both": [same_bits(answer["state"], expected) for answer in both],
        "draws_of_both": [answer["draws"] == saved[rank]["draws"] for rank, answer in enumerate(both)],
        "state_alone": same_bits(alone[0]["state"], expected),
        "draws_alone": alone[0]["draws"] == saved[0]["draws"],
        "state_of_three": [same_bits(answer["state"], expected) for answer in three],
        "after_damage": [(answer["step"], answer["warnings"]) for answer in damaged],
        "refused": refused,
        "left_by_refused": list_steps(folder / "h") + [str(p) for p in (folder / "h/checkpoints").glob("*.partial")],
        "widowed": widowed,
    }
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
