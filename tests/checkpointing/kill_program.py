"""Kills a process that trains and saves in a loop, again and again, at random moments, and looks at what is left each time.

    python kill_program.py FOLDER KILLS SEED

Prints one JSON object: what was found after each kill, and whether training, taken up from whatever was there after each of
them, ended bitwise where an undisturbed run ends.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
from checkpointing.forked_ranks import run_ranks, start_rank
from checkpointing.tiny_runs import (
    BATCH,
    list_steps,
    make_checkpointer,
    make_run,
    make_state,
    same_bits,
    snapshot,
    train_step,
)

from oarlock_trainer.checkpoints.verification import find_damage

RUN = make_run(keep=2)
SAVES_IN_A_LIFE = 2.5
"""The longest life, in saves: kills must hit saves, and some saves must succeed, on a busy machine as on an idle one."""
WIDTH = 1000


def train(run_dir: Path, *, attempt: int, steps: int | None) -> dict[str, Any]:
    """Resume and train, with a save at every step; for ever if `steps` is None. The next step runs during the save."""
    checkpointer, state = make_checkpointer(run_dir, run=RUN, attempt=attempt), make_state(width=WIDTH)
    checkpointer.claim_fence()
    checkpointer.load_latest(state)
    (run_dir / "started").touch()
    while steps is None or state.position < steps * BATCH:
        train_step(state)
        step = state.position // BATCH
        checkpointer.begin_save(state, step=step, epoch=0.0, metric=step % 7)
    checkpointer.finish()
    return snapshot(state)


def measure_save(folder: Path, *, saves: int = 4) -> float:
    """Return how many seconds a step with its save takes now."""
    folder.mkdir()

    def work(_rank: int) -> float:
        (folder / "run").mkdir()
        began = time.monotonic()
        train(folder / "run", attempt=0, steps=saves)
        return (time.monotonic() - began) / saves

    (seconds,) = run_ranks(1, folder / "ranks", work)
    return float(seconds)


def kill_once(run_dir: Path, folder: Path, *, attempt: int, life: float) -> dict[str, Any]:
    folder.mkdir()
    (run_dir / "started").unlink(missing_ok=True)
    pid = start_rank(0, 1, folder, lambda _rank: train(run_dir, attempt=attempt, steps=None))
    while not (run_dir / "started").exists():
        if os.waitpid(pid, os.WNOHANG)[0]:
            return {"died": True}
        time.sleep(0.001)
    time.sleep(life)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return inspect(run_dir)


def inspect(run_dir: Path) -> dict[str, Any]:
    checkpoints = run_dir / "checkpoints"
    checkpoints.mkdir(exist_ok=True)  # it is not there yet when the kill came before the first save
    steps = list_steps(run_dir)
    findings = [find_damage(checkpoints / f"step-{step:09d}") for step in steps]
    leftovers = [folder.name for folder in checkpoints.iterdir() if "." in folder.name]
    return {"steps": steps, "damaged": [finding for finding in findings if finding], "leftovers": leftovers}


def main() -> None:
    folder, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    dice = random.Random(seed)
    run_dir = folder / "run"
    run_dir.mkdir()
    longest = SAVES_IN_A_LIFE * measure_save(folder / "measured")
    rounds = [
        kill_once(run_dir, folder / f"kill-{number}", attempt=number // 3, life=dice.uniform(0, longest))
        for number in range(kills)
    ]
    last = max(list_steps(run_dir), default=0)
    (resumed,) = run_ranks(1, folder / "end", lambda _rank: train(run_dir, attempt=kills, steps=last + 3))
    (reference,) = run_ranks(1, folder / "reference", lambda _rank: train_undisturbed(last + 3))

    json.dump(
        {"rounds": rounds, "end": inspect(run_dir), "exact": same_bits(resumed, reference), "last": last}, sys.stdout
    )


def train_undisturbed(steps: int) -> dict[str, Any]:
    state = make_state(width=WIDTH)
    for _ in range(steps):
        train_step(state)
    return snapshot(state)


if __name__ == "__main__":
    main()
