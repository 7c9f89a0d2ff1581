"""What an import says while it runs: one line on a terminal, a line now and then elsewhere, and a report for the agent."""

import io
from pathlib import Path

import pytest

from oarlock_trainer.importing.progress import ImportProgress, ImportStoppedError, render_duration, render_progress
from oarlock_trainer.rank_record import RankRecord, read_rank_record


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(out: io.StringIO, *, seconds: int, record: RankRecord | None = None) -> str:
    clock = Clock()
    progress = ImportProgress(record or RankRecord.from_environment(), out=out, clock=clock)
    progress.start("importing", 1000)
    for second in range(1, seconds + 1):
        clock.now = 100.0 + second
        progress.advance(second * 10)
    progress.note("done")
    return out.getvalue()


def test_one_line_is_rewritten_when_the_output_is_a_terminal() -> None:
    shown = run(Terminal(), seconds=3)

    assert shown.count("\n") == 1
    assert "\r\x1b[Kimporting: 30 of 1,000 images (3 %), 10 images/s, 1 min 37 s left" in shown
    assert shown.endswith("\r\x1b[Kdone\n")


def test_a_line_is_printed_now_and_then_when_the_output_is_a_file() -> None:
    lines = run(io.StringIO(), seconds=25).splitlines()

    assert [line.split(" of ")[0] for line in lines] == ["importing: 100", "importing: 200", "done"]


def test_agent_is_told_how_far_it_is_and_how_long_it_takes(tmp_path: Path) -> None:
    path = tmp_path / "0.record"
    run(io.StringIO(), seconds=20, record=RankRecord.create(path, rank=0))
    reading = read_rank_record(path)

    assert reading is not None
    assert (reading.position, reading.report["steps"]) == (200, 1000)
    assert reading.report["eta_seconds"] == pytest.approx(80)


def test_next_beat_raises_when_a_stop_was_asked_for() -> None:
    progress = ImportProgress(RankRecord.from_environment(), stop=lambda: True, out=io.StringIO())

    with pytest.raises(ImportStoppedError):
        progress.beat()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (3600, "1 h 0 min"), (9000, "2 h 30 min")]
)
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert render_duration(seconds) == text


def test_progress_is_complete_when_there_is_nothing_to_do() -> None:
    assert render_progress("importing", 0, 0, rate=0, left=None) == "importing: 0 of 0 images (100 %), 0 images/s"
