"""What the ranks print."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from agent.pods import Pod

from oarlock_trainer.agent.log_tee import LogTee

StartPod = Callable[..., Pod]


def test_training_ends_when_ranks_print_forty_megabytes(start_pod: StartPod, tmp_path: Path) -> None:
    pod = start_pod("noisy")

    assert pod.wait() == 0
    assert (tmp_path / "run/logs/attempt-2-node-0.log").stat().st_size > 30_000_000
    assert (tmp_path / "stdout").stat().st_size > 30_000_000


def test_training_ends_when_the_log_cannot_be_written(start_pod: StartPod, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file where the folder should be")
    pod = start_pod("succeed")

    assert pod.wait() == 0
    assert any("The log is no longer written" in warning for warning in pod.record().warnings)


def test_both_receivers_get_every_line_when_they_keep_up(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        tee = LogTee(log_file=tmp_path / "logs/a.log", stdout=out.fileno())
        _print(tee, b"one\ntwo\nthree without an end")
        tee.close(timeout=60)

    assert (
        (tmp_path / "out").read_bytes() == (tmp_path / "logs/a.log").read_bytes() == b"one\ntwo\nthree without an end"
    )
    assert tee.last_lines == ["one", "two", "three without an end"]


def test_writer_is_not_held_up_when_standard_output_blocks(tmp_path: Path) -> None:
    reader, blocked = os.pipe()  # nobody reads
    tee = LogTee(log_file=tmp_path / "a.log", stdout=blocked)
    started = time.monotonic()
    _print(tee, b"x" * 79 + b"\n", times=50_000)
    tee.drain(timeout=120)

    assert time.monotonic() - started < 60
    assert (tmp_path / "a.log").stat().st_size > 0
    os.close(reader)
    os.close(blocked)


def test_log_file_ends_at_its_limit_when_ranks_print_without_end(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        tee = LogTee(log_file=tmp_path / "a.log", stdout=out.fileno(), max_log_bytes=1000)
        _print(tee, b"0123456789\n", times=500)
        tee.close(timeout=60)

    assert (tmp_path / "a.log").stat().st_size < 1100
    assert (tmp_path / "out").stat().st_size == 500 * 11
    assert "largest size" in tee.warnings[0]


def _print(tee: LogTee, line: bytes, *, times: int = 1) -> None:
    with os.fdopen(tee.open_pipe(), "wb") as pipe:
        for _ in range(times):
            pipe.write(line)
