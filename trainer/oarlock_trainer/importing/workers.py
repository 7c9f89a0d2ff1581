"""Runs shard tasks: in this process when there is little to do, else in one process per core.

Workers are spawned, so that no lock of this process is held in them for ever; they die with this process and leave stopping to it.
"""

import multiprocessing
import os
import signal
import warnings
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING

from PIL import Image

from oarlock_api.contract import Cause
from oarlock_trainer.errors import TrainerError
from oarlock_trainer.importing.progress import ImportProgress
from oarlock_trainer.importing.samples import TableSamples
from oarlock_trainer.importing.shard_tasks import ShardResult, ShardTask, run_shard_task
from oarlock_trainer.process_death import die_with_parent

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized

_POLL_SECONDS = 0.25
_FEW_FILES = 200
"""Not worth the half second that worker processes take to start."""


class WorkerKilledError(TrainerError):
    """A worker process that ended without a word."""

    cause = Cause.PROCESS_KILLED


def run_shard_tasks(tasks: list[ShardTask], *, workers: int, progress: ImportProgress) -> Iterator[ShardResult]:
    """Yield the result of each task as it comes.

    Raises:
        WorkerKilledError: if a worker process is killed.
        OSError: what a task raised.
        ImportStoppedError: if the import was asked to stop.
    """
    processes = min(workers, len(tasks), choose_processes(tasks))
    if processes <= 1:
        yield from _run_here(tasks, progress)
    else:
        yield from _run_in_processes(tasks, processes, progress)


def choose_processes(tasks: list[ShardTask]) -> int:
    """Return how many processes are worth starting. Pure."""
    costly = sum(len(task.samples) for task in tasks if _must_decode(task))
    return len(tasks) if costly > _FEW_FILES else 1


def _must_decode(task: ShardTask) -> bool:
    samples = task.samples
    return not isinstance(samples, TableSamples) or (samples.height, samples.width) != task.form.columns.input.shape[:2]


def _run_here(tasks: list[ShardTask], progress: ImportProgress) -> Iterator[ShardResult]:
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress.advance(done)

    with warnings.catch_warnings():
        _accept_large_images()
        for task in tasks:
            yield run_shard_task(task, advance)


def _run_in_processes(tasks: list[ShardTask], processes: int, progress: ImportProgress) -> Iterator[ShardResult]:
    context = multiprocessing.get_context("spawn")
    counter = context.Value("Q", 0)
    pool = ProcessPoolExecutor(
        processes,
        mp_context=context,
        initializer=_begin_worker,
        initargs=(os.getpid(), counter),
    )
    try:
        # The largest first: the smallest then even out the ends of the workers.
        largest_first = sorted(tasks, key=lambda task: -len(task.samples))
        pending: set[Future[ShardResult]] = {pool.submit(_run_task, task) for task in largest_first}
        while pending:
            finished, pending = wait(pending, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
            # Not `.value`, which waits for a lock that a killed worker may hold.
            progress.advance(counter.get_obj().value)
            for future in finished:
                yield future.result()
            if not finished:
                _check_workers(pool)
    except BrokenProcessPool as error:
        raise WorkerKilledError(
            "a process that decodes samples was killed, as the kernel does when memory runs out",
            remedy="raise spec.resources.memory, or lower spec.resources.cpu so that fewer are decoded at once",
        ) from error
    finally:
        _end(pool)


def _check_workers(pool: ProcessPoolExecutor) -> None:
    """The pool itself waits for ever for the rest of a result during which its worker was killed.

    Raises:
        BrokenProcessPool: if a worker has ended.
    """
    if any(worker.exitcode is not None for worker in _list_workers(pool)):
        raise BrokenProcessPool("a worker process has ended")


def _end(pool: ProcessPoolExecutor) -> None:
    """End the workers now, whatever they are doing: what they have finished is noted beside the shards."""
    workers, results = _list_workers(pool), pool._result_queue  # noqa: SLF001  # the pool forgets it as it shuts down
    pool.shutdown(wait=False, cancel_futures=True)
    for worker in workers:
        worker.kill()
    for worker in workers:
        worker.join()
    # One that was killed amid a result leaves a part of it. The pool's thread waits for the rest, and the end of this process
    # for that thread, unless nobody is left who could write it.
    results._writer.close()  # type: ignore[attr-defined]  # noqa: SLF001  # nothing public closes one end


def _list_workers(pool: ProcessPoolExecutor) -> list[BaseProcess]:
    return list((pool._processes or {}).values())  # noqa: SLF001  # the pool has no way to give up a running task


_counter: "Synchronized[int] | None" = None


def _begin_worker(parent: int, counter: "Synchronized[int]") -> None:
    """Prepare a worker process."""
    global _counter  # noqa: PLW0603  # how an executor's initializer hands something to its tasks
    die_with_parent(parent)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    _accept_large_images()
    _counter = counter


def _accept_large_images() -> None:
    """Let Pillow read images of 89 to 179 million pixels without a warning; it refuses larger ones."""
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def _run_task(task: ShardTask) -> ShardResult:
    return run_shard_task(task, _advance)


def _advance(count: int) -> None:
    if _counter is not None:
        with _counter.get_lock():
            _counter.value += count
