"""Threads that read: all that they are given is done, what they raise is raised, and one that ends is noticed."""

import ctypes
import errno
import os
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest

from oarlock_api.contract import Cause
from oarlock_trainer.datasets import ReaderError, Readers
from oarlock_trainer.errors import TrainerError


@pytest.fixture
def readers() -> Iterator[Readers]:
    made = Readers(3, name="test-reader")
    yield made
    made.close()


def list_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("test-reader")]


def end_thread() -> None:
    """End the thread as a native library may: Python does not hear of it."""
    ctypes.CDLL(None).pthread_exit(None)


def refuse() -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO), "train-00000.arrow")


def test_all_is_done_when_there_is_more_to_do_than_there_are_readers(readers: Readers) -> None:
    done: list[int] = []
    readers.run([partial(done.append, number) for number in range(20)], what="numbers")

    assert sorted(done) == list(range(20))
    assert len(list_threads()) == 3


def test_no_thread_starts_when_nothing_is_read(readers: Readers) -> None:
    assert readers.count == 3
    assert list_threads() == []


def test_what_one_reader_raises_is_raised_when_another_does_not_come_back(readers: Readers) -> None:
    held = threading.Event()

    def wait() -> None:
        held.wait()

    with pytest.raises(OSError, match="train-00000"):
        readers.run([wait, refuse], what="a batch")
    held.set()


def test_reader_that_ended_behind_pythons_back_is_named_with_what_it_read(readers: Readers) -> None:
    answer = readers.submit(end_thread, what="the batch of step 7")

    with pytest.raises(ReaderError, match=r"thread test-reader-\d that reads .* read the batch of step 7") as caught:
        readers.result(answer)
    assert (caught.value.cause, bool(caught.value.remedy)) == (Cause.PROCESS_KILLED, True)


def test_process_is_not_ended_without_a_word_when_a_reader_exits(readers: Readers) -> None:
    with pytest.raises(ReaderError, match=r"raised SystemExit\(3\)"):
        readers.run([partial(sys.exit, 3)], what="a batch")


def test_remedy_names_the_limit_when_a_thread_cannot_start(readers: Readers, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse_to_start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse_to_start)
    with pytest.raises(TrainerError, match=r"thread 1 of 3 .* can't start new thread") as caught:
        readers.submit(refuse, what="a batch")
    assert "recipe.loader.workers" in caught.value.remedy


def test_no_thread_is_left_when_readers_are_closed_with_work_to_do(readers: Readers) -> None:
    begun, held = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        held.wait()

    answers = [readers.submit(wait, what="a batch") for _ in range(20)]
    assert begun.wait(60)
    threading.Timer(0.05, held.set).start()

    readers.close()

    deadline = time.monotonic() + 60
    while list_threads() and time.monotonic() < deadline:
        held.wait(0.01)
    assert list_threads() == []
    assert any(answer.cancelled() for answer in answers)
    assert readers.submit(refuse, what="more").cancelled()
