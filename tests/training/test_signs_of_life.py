"""Beats beside work that gives none itself."""

import threading

import pytest

from oarlock_trainer.signs_of_life import beating

_SECONDS = 60.0


def list_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "signs-of-life"]


def test_beats_are_given_while_the_work_goes_on_and_none_after_it() -> None:
    beats, enough = [], threading.Event()

    def beat() -> None:
        beats.append(1)
        if len(beats) == 3:
            enough.set()

    with beating(beat, every=0.001):
        assert enough.wait(_SECONDS)
    given = len(beats)

    assert list_threads() == []
    assert len(beats) == given


def test_work_that_hangs_falls_silent_when_its_time_is_over() -> None:
    beats: list[int] = []

    with beating(lambda: beats.append(1), at_most=0.0, every=0.001):
        for thread in list_threads():  # none, if it has ended already
            thread.join(_SECONDS)
        assert list_threads() == []

    assert beats == []


def test_beats_end_with_work_that_fails() -> None:
    with pytest.raises(OSError, match="full"), beating(lambda: None):
        raise OSError("full")

    assert list_threads() == []
