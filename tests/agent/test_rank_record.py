import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oarlock_api.contract import Cause, CheckpointFacts, Failure, Outcome, PodPhase
from oarlock_trainer.rank_record import RANK_RECORD_DIR_ENV, RankRecord, read_rank_record

FAILURE = Failure(cause=Cause.NON_FINITE, message="the loss is infinite")


def test_reading_returns_what_was_written_when_a_rank_beats_and_reports(tmp_path: Path) -> None:
    record = RankRecord.create(tmp_path / "0.record", rank=5)
    record.beat(PodPhase.TRAINING, step=7, position=70)
    record.beat(PodPhase.VALIDATING)
    record.report(metrics={"train/loss": 0.25}, steps=10)
    record.report(checkpoint_latest=CheckpointFacts(step=6, epoch=1, path="c", bytes=1, time=2.0))
    reading = read_rank_record(tmp_path / "0.record")

    assert reading is not None
    assert (reading.rank, reading.pid, reading.phase) == (5, os.getpid(), PodPhase.VALIDATING)
    assert (reading.counter, reading.step, reading.position) == (2, 7, 70)
    assert reading.report["steps"] == 10
    assert reading.report["checkpoint_latest"]["step"] == 6
    assert (reading.failure, reading.outcome) == (None, None)


def test_first_failure_stays_when_others_follow(tmp_path: Path) -> None:
    record = RankRecord.create(tmp_path / "0.record", rank=0)
    record.fail(FAILURE)
    record.fail(Failure(cause=Cause.UNKNOWN, message="while cleaning up"))
    record.finish(Outcome.SUCCEEDED)
    reading = read_rank_record(tmp_path / "0.record")

    assert reading is not None
    assert reading.failure == FAILURE
    assert reading.failed_at is not None
    assert reading.outcome is Outcome.FAILED


@given(
    steps=st.lists(st.integers(0, 2**62), min_size=1, max_size=20),
    metrics=st.dictionaries(st.text(max_size=20), st.floats(allow_nan=False), max_size=5),
)
def test_last_values_are_read_when_any_values_were_written(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int], metrics: dict[str, float]
) -> None:
    path = tmp_path_factory.mktemp("record") / "0.record"
    record = RankRecord.create(path, rank=0)
    for step in steps:
        record.beat(PodPhase.TRAINING, step=step)
    record.report(metrics=metrics)
    reading = read_rank_record(path)

    assert reading is not None
    assert (reading.step, reading.counter, reading.report["metrics"]) == (steps[-1], len(steps), metrics)


def test_no_reading_is_torn_when_the_writer_never_rests(tmp_path: Path) -> None:
    """Each write says one number in several places; a torn read would show two."""
    path, done = tmp_path / "0.record", threading.Event()
    record = RankRecord.create(path, rank=0)

    def write() -> None:
        number = 0
        while not done.is_set():
            number += 1
            record.beat(PodPhase.TRAINING, step=number, position=number)
            record.report(a=number, filling="x" * (number % 5000), b=number)

    writer = threading.Thread(target=write)
    writer.start()
    readings = [read_rank_record(path) for _ in range(1500)]
    done.set()
    writer.join()

    assert all(reading is not None for reading in readings)
    assert all(reading.step == reading.position for reading in readings if reading)
    assert all(reading.report.get("a") == reading.report.get("b") for reading in readings if reading)
    assert len({reading.counter for reading in readings if reading}) > 10


def test_flipped_byte_is_never_believed_when_it_is_in_the_newest_copy(tmp_path: Path) -> None:
    path = tmp_path / "0.record"
    RankRecord.create(path, rank=0).beat(PodPhase.TRAINING, step=9)
    content = bytearray(path.read_bytes())
    readings = []
    for position in range(256):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        readings.append(read_rank_record(path))

    assert {reading.step for reading in readings if reading} <= {9, None}
    assert any(reading and reading.step is None for reading in readings)


def test_record_stays_readable_when_its_writer_is_killed_at_any_moment(tmp_path: Path) -> None:
    program = (
        "import itertools, sys, pathlib\n"
        "from oarlock_api.contract import PodPhase\n"
        "from oarlock_trainer.rank_record import RankRecord\n"
        "record = RankRecord.create(pathlib.Path(sys.argv[1]), rank=0)\n"
        "print('ready', flush=True)\n"
        "for step in itertools.count(): record.beat(PodPhase.TRAINING, step=step); record.report(step=step)\n"
    )
    for attempt in range(5):
        path = tmp_path / f"{attempt}.record"
        with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            threading.Event().wait(0.02 + attempt * 0.013)
            writer.send_signal(signal.SIGKILL)
        reading = read_rank_record(path)

        assert reading is not None
        assert reading.report.get("step", 0) in ((reading.step or 0) - 1, reading.step or 0)


def test_largest_fact_is_left_out_when_the_report_does_not_fit(tmp_path: Path) -> None:
    record = RankRecord.create(tmp_path / "0.record", rank=0)
    record.report(steps=3, huge="x" * 100_000)
    record.fail(Failure(cause=Cause.USER_ERROR, message="y" * 100_000))
    reading = read_rank_record(tmp_path / "0.record")

    assert reading is not None
    assert "huge" not in reading.report
    assert reading.failure is not None
    assert reading.failure.cause == Cause.USER_ERROR


def test_report_takes_numpy_values_and_paths_when_given(tmp_path: Path) -> None:
    record = RankRecord.create(tmp_path / "0.record", rank=0)
    record.report(value=np.float32(0.5), row=np.arange(2), path=Path("export"))
    reading = read_rank_record(tmp_path / "0.record")

    assert reading is not None
    assert reading.report == {"value": 0.5, "row": [0, 1], "path": "export"}


@pytest.mark.parametrize("content", [b"", b"short", bytes(131_328)], ids=["empty", "short", "zeros"])
def test_nothing_is_read_when_the_file_is_no_record(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "0.record").write_bytes(content)

    assert read_rank_record(tmp_path / "0.record") is None
    assert read_rank_record(tmp_path / "absent") is None


def test_record_is_found_by_local_rank_when_the_agent_names_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(RANK_RECORD_DIR_ENV, str(tmp_path))
    monkeypatch.setenv("RANK", "9")
    monkeypatch.setenv("LOCAL_RANK", "1")
    RankRecord.from_environment()
    reading = read_rank_record(tmp_path / "1.record")

    assert reading is not None
    assert reading.rank == 9


def test_record_is_kept_in_memory_when_there_is_no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(RANK_RECORD_DIR_ENV, raising=False)
    record = RankRecord.from_environment()
    record.beat(PodPhase.TRAINING, step=1)
    record.fail(FAILURE)
