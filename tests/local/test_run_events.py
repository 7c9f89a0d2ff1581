"""What the trainer of a job says beside figures: every event of this run once, whatever becomes of its log."""

import json
from pathlib import Path

from oarlock.running.run_events import RunEvents
from oarlock.running.telling import Teller


def write(log: Path, *events: tuple[str, float, str], step: int = 0) -> None:
    with log.open("a") as stream:
        for kind, moment, message in events:
            line = {"kind": kind, "step": step, "time": moment, "message": message}
            stream.write(json.dumps(line, separators=(",", ":")) + "\n")


def test_events_of_this_run_come_once_when_the_log_grows_and_is_cut(tmp_path: Path) -> None:
    log, events = tmp_path / "log.jsonl", RunEvents(since=10)
    assert events.read(log) == []
    write(log, ("start", 1, "before"), ("warning", 11, "one"), ("checkpoint", 12, "a figure"))
    assert [event.message for event in events.read(log)] == ["one"]
    assert events.read(log) == []

    log.write_text(log.read_text()[:-40])
    write(log, ("warning", 13, "torn"), ("warning", 14, "two"))
    assert [event.message for event in events.read(log)] == ["two"]


def test_start_is_told_when_the_cut_log_has_outgrown_the_old_one(tmp_path: Path) -> None:
    log, events = tmp_path / "log.jsonl", RunEvents(since=10)
    write(log, ("start", 1, "before"), ("checkpoint", 2, "x" * 100))
    assert events.read(log) == []
    rewritten = tmp_path / "log.rewinding"
    write(rewritten, ("start", 1, "before"), ("start", 11, "again"), ("checkpoint", 12, "y" * 1000))
    rewritten.replace(log)

    assert [event.message for event in events.read(log)] == ["again"]


def test_line_is_awaited_when_only_half_of_it_is_there(tmp_path: Path) -> None:
    log, events = tmp_path / "log.jsonl", RunEvents(since=0)
    write(log, ("warning", 1, "whole"))
    text = log.read_text()
    log.write_text(text[:20])
    assert events.read(log) == []

    log.write_text(text)
    assert [event.message for event in events.read(log)] == ["whole"]


class Notes:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def show(self, item: dict[str, object]) -> None: ...

    def settle(self) -> None: ...


def test_real_step_and_each_warning_are_told_once(tmp_path: Path) -> None:
    screen = Notes()
    teller = Teller(screen, "lenet", since=0)
    write(tmp_path / "log.jsonl", ("start", 1, "training"), ("warning", 2, "step 7 is corrupt: skipped"), step=5)
    status = {"phase": "Training", "message": "attempt 1 on node x; step 7 is corrupt"}
    for _ in range(2):
        teller.tell({"status": status}, tmp_path)

    assert screen.notes == ["lenet goes on from the checkpoint of step 5", "lenet: step 7 is corrupt: skipped"]
    assert teller.warnings == ["step 7 is corrupt: skipped"]


def test_word_of_the_operator_is_told_when_there_is_no_log() -> None:
    screen = Notes()
    Teller(screen, "digits", since=0).tell(
        {"status": {"phase": "Importing", "message": "pod x imports; slow disk"}}, None
    )

    assert screen.notes == ["digits: slow disk"]
