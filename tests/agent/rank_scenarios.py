"""What a rank, or an importer, does in each test: `rank_scenarios.py SCENARIO`. A script, never imported."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from oarlock_api.contract import (
    EXIT_CODES,
    EXIT_SUSPENDED,
    Cause,
    CheckpointFacts,
    DatasetFacts,
    Failure,
    Outcome,
    PodPhase,
)
from oarlock_trainer.process_death import die_with_parent
from oarlock_trainer.rank_record import RANK_RECORD_DIR_ENV, RankRecord

RANK = int(os.environ.get("LOCAL_RANK", "0"))
RETRY = int(Path(os.environ[RANK_RECORD_DIR_ENV]).name)


class Stop:
    requested = False


def train(record: RankRecord, *, steps: int, first: int = 1) -> None:
    for step in range(first, steps + 1):
        record.beat(PodPhase.TRAINING, step=step, position=step * 10)
    facts = CheckpointFacts(step=steps, epoch=1.0, path=f"checkpoints/step-{steps}", bytes=5, time=time.time())
    record.report(metrics={"train/loss": 0.5}, steps=20, epoch=1.0, checkpoint_latest=facts)


def fail(record: RankRecord, cause: Cause, message: str) -> None:
    record.fail(Failure(cause=cause, message=message, remedy="do better", detail="Traceback: the end"))
    sys.exit(EXIT_CODES[cause])


def succeed(record: RankRecord) -> None:
    train(record, steps=20)
    record.finish(Outcome.SUCCEEDED)


def rank_killed(record: RankRecord) -> None:
    record.beat(PodPhase.TRAINING, step=7)
    if RANK == 1:
        time.sleep(0.4)
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.8)
    fail(record, Cause.COLLECTIVE_FAILED, "connection closed by peer")


def rank_killed_once(record: RankRecord) -> None:
    rank_killed(record) if RETRY == 0 else succeed(record)


def rank_killed_while_checkpoints_advance(record: RankRecord) -> None:
    if RETRY == 5:
        succeed(record)
        return
    train(record, steps=RETRY + 1)
    time.sleep(0.4)
    os.kill(os.getpid(), signal.SIGKILL)


def exception(record: RankRecord) -> None:
    record.beat(PodPhase.TRAINING, step=3)
    if RANK == 1:
        fail(record, Cause.USER_ERROR, "ValueError: no such column")
    time.sleep(0.3)
    fail(record, Cause.COLLECTIVE_FAILED, "connection closed by peer")


def unreported_exit(record: RankRecord) -> None:
    record.beat(PodPhase.LOADING)
    sys.stderr.write("ImportError: no such module\n")
    time.sleep(0.4)
    sys.exit(3)


def data_missing_exit(record: RankRecord) -> None:
    record.beat(PodPhase.LOADING)
    time.sleep(0.4)
    sys.exit(EXIT_CODES[Cause.DATA_MISSING])


def unfinished_exit(record: RankRecord) -> None:
    record.beat(PodPhase.TRAINING, step=1)


def superseded(record: RankRecord) -> None:
    fail(record, Cause.SUPERSEDED, "attempt 2 owns the volume")


def until_stopped(record: RankRecord) -> None:
    step = 0
    while not Stop.requested:
        step += 1
        record.beat(PodPhase.TRAINING, step=step)
        time.sleep(0.01)
    train(record, steps=step)
    record.finish(Outcome.SUSPENDED)
    sys.exit(EXIT_SUSPENDED)


def deaf_to_stop(record: RankRecord) -> None:
    train(record, steps=3)
    while True:
        record.beat(PodPhase.TRAINING, step=4)
        time.sleep(0.01)


def no_handler_yet(record: RankRecord) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    record.beat(PodPhase.STARTING)
    time.sleep(100)


def stopped(record: RankRecord) -> None:
    record.beat(PodPhase.TRAINING, step=5)
    if RANK == 1:
        os.kill(os.getpid(), signal.SIGSTOP)
    record.beat(PodPhase.TRAINING, step=6)
    wait_for_the_other_rank()


def silent_in_validation(record: RankRecord) -> None:
    record.beat(PodPhase.TRAINING, step=5)
    if RANK == 1:
        record.beat(PodPhase.VALIDATING)
        wait_in_a_lock()
    while True:
        record.beat(PodPhase.TRAINING, step=6)
        time.sleep(0.05)


def wait_in_a_lock() -> None:
    time.sleep(100)


def wait_for_the_other_rank() -> None:
    time.sleep(100)


def slow_phases(record: RankRecord) -> None:
    """Makes no steps for longer than the deadline, yet beats."""
    for phase in (PodPhase.COMPILING, PodPhase.VALIDATING, PodPhase.CHECKPOINTING):
        for _ in range(12):
            record.beat(phase)
            time.sleep(0.1)
    succeed(record)


def noisy(record: RankRecord) -> None:
    line = "x" * 99 + "\n"
    for _ in range(200):
        sys.stdout.write(line * 1000)
    succeed(record)


def with_orphans(record: RankRecord) -> None:
    subprocess.Popen(["sh", "-c", "sleep 1000 & sleep 1000"], start_new_session=True)
    record.beat(PodPhase.TRAINING, step=1)
    until_stopped(record)


def with_orphans_killed(record: RankRecord) -> None:
    subprocess.Popen(["sh", "-c", "sleep 1000 & sleep 1000"], start_new_session=True)
    fail(record, Cause.USER_ERROR, "left things behind")


def not_finite(record: RankRecord) -> None:
    record.report(metrics={"train/loss": float("nan"), "learningRate": 0.1}, warnings=["careful"])
    until_stopped(record)


def imports(record: RankRecord) -> None:
    facts = DatasetFacts(
        version="abc",
        path="abc",
        bytes=10,
        classes=["a", "b"],
        class_count=2,
        counts={"train": 3},
        class_counts={"train": [1, 2]},
        sample_shape=[28, 28, 1],
    )
    record.beat(PodPhase.IMPORTING, position=3)
    record.report(dataset=facts, steps=3)
    record.finish(Outcome.SUCCEEDED)


def imports_for_ever(record: RankRecord) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    while True:
        record.beat(PodPhase.IMPORTING, position=1)
        time.sleep(0.01)


def import_fails(record: RankRecord) -> None:
    record.beat(PodPhase.IMPORTING, position=1)
    fail(record, Cause.DATA_MISSING, "the folder digits/ is empty")


if __name__ == "__main__":
    die_with_parent()
    signal.signal(signal.SIGTERM, lambda *_: setattr(Stop, "requested", True))
    globals()[sys.argv[1]](RankRecord.from_environment())
