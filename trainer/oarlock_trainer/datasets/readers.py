"""Threads that read for a process, side by side, and that cannot end unnoticed: whoever waits for them looks whether they live.

What they do is given to them whole, so that nothing depends on how many there are or which of them was faster. No torch.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from oarlock_api.contract import Cause
from oarlock_trainer.errors import TrainerError

_LOOK_SECONDS = 0.5
"""Whoever waits looks this often whether the threads are there."""
_CLOSING_SECONDS = 2.0
"""Time for the threads to end together; one that a volume holds up ends with the process."""
_TASKS = Path("/proc/self/task")

T = TypeVar("T")


class ReaderError(TrainerError):
    """A thread that ended without an answer."""

    cause = Cause.PROCESS_KILLED


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    act: Callable[[], Any]
    what: str
    answer: Future[Any]


class Readers:
    """So many threads, which start with the first task. Safe to use from several threads."""

    def __init__(self, count: int, *, name: str, on_start: Callable[[], None] = lambda: None) -> None:
        """`on_start` runs first in each thread."""
        self.count = count
        self._name, self._on_start = name, on_start
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._at_work: dict[str, str] = {}
        """What each thread reads, by its name."""
        self._lock = threading.Lock()
        self._closing = False

    def submit(self, act: Callable[[], T], *, what: str) -> "Future[T]":
        """Have a thread do something; `what` says what it reads.

        Raises:
            TrainerError: if this process may not have as many threads.
        """
        task = _Task(act=act, what=what, answer=Future())
        with self._lock:
            if self._closing:
                task.answer.cancel()
                return task.answer
            self._start()
            self._tasks.put(task)
        return task.answer

    def run(self, acts: Sequence[Callable[[], None]], *, what: str) -> None:
        """Do all of them side by side, and return when all are done.

        Raises:
            ReaderError: if a thread ended without an answer.
            Exception: what one of them raised; the others are not waited for.
        """
        self._await([self.submit(act, what=what) for act in acts])

    def result(self, answer: "Future[T]") -> T:
        """Wait for an answer.

        Raises:
            ReaderError: if a thread ended without one.
            Exception: what it raised.
        """
        self._await([answer])
        return answer.result()

    def close(self) -> None:
        """End the threads; what they have not begun is never done."""
        with self._lock:
            self._closing = True
        with contextlib.suppress(queue.Empty):
            while True:
                if (task := self._tasks.get_nowait()) is not None:
                    task.answer.cancel()
        for _ in self._threads:
            self._tasks.put(None)
        deadline = time.monotonic() + _CLOSING_SECONDS
        for thread in self._threads:
            if not _is_gone(thread):
                thread.join(max(0.0, deadline - time.monotonic()))

    def _start(self) -> None:
        while len(self._threads) < self.count:
            name = f"{self._name}-{len(self._threads)}"
            thread = threading.Thread(target=self._serve, args=(name,), name=name, daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                raise TrainerError(
                    f"thread {len(self._threads) + 1} of {self.count} that read the data set cannot be started: {error}",
                    remedy="lower recipe.loader.workers, or raise the limit of processes (pids) of pods on the node",
                ) from error
            self._threads.append(thread)

    def _serve(self, name: str) -> None:
        prepare = self._on_start
        while (task := self._tasks.get()) is not None:
            self._at_work[name] = task.what
            if task.answer.set_running_or_notify_cancel():
                try:
                    prepare()
                    prepare = _do_nothing
                    task.answer.set_result(task.act())
                except BaseException as error:  # noqa: BLE001  # whoever waits for the answer raises it
                    task.answer.set_exception(error)
            del self._at_work[name]
            # Not kept until the next task comes: an answer may be a whole batch.
            del task

    def _await(self, answers: Sequence["Future[Any]"]) -> None:
        """Return when all have answered; raise as soon as one has failed."""
        waiting = set(answers)
        while waiting:
            done, waiting = wait(waiting, timeout=_LOOK_SECONDS, return_when=FIRST_EXCEPTION)
            for answer in done:
                _raise_failure(answer)
            if waiting:
                self._look_for_the_dead()

    def _look_for_the_dead(self) -> None:
        for thread in () if self._closing else tuple(self._threads):
            if _is_gone(thread):
                what = self._at_work.get(thread.name, "nothing")
                raise _report(f"thread {thread.name}", f"ended while it read {what}")


def _do_nothing() -> None:
    pass


def _raise_failure(answer: "Future[Any]") -> None:
    """Raise what a task raised; what ends a thread, as SystemExit does, must not end the process without a word."""
    error = None if answer.cancelled() else answer.exception()
    if error is not None and not isinstance(error, Exception):
        raise _report("a thread", f"raised {type(error).__name__}({error})") from error
    answer.result()


def _report(who: str, did: str) -> ReaderError:
    return ReaderError(
        f"{who} that reads the data set {did}, and gave no answer",
        remedy="read the log of this attempt for what a native library printed; training resumes from the last checkpoint",
    )


def _is_gone(thread: threading.Thread) -> bool:
    """Say whether a thread has ended: the kernel knows also of one that ended behind Python's back."""
    if not thread.is_alive():
        return True
    # Where /proc does not even list the thread that asks, it says nothing.
    return (_TASKS / str(threading.get_native_id())).exists() and not (_TASKS / str(thread.native_id)).exists()
