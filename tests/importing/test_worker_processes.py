"""What becomes of the pool of an import when its workers are killed at a bad moment."""

import multiprocessing
import os
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import pytest

from oarlock_trainer.importing import workers


@pytest.fixture
def pool() -> Iterator[ProcessPoolExecutor]:
    """A pool with a worker that has done something and got nothing more to do."""
    pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    assert pool.submit(abs, -1).result(120) == 1
    yield pool
    pool.shutdown(wait=False, cancel_futures=True)


def test_pool_ends_when_a_worker_was_killed_amid_a_result(pool: ProcessPoolExecutor) -> None:
    thread = pool._executor_manager_thread
    assert thread is not None
    # As a worker begins to write: the length of what is to come, and a part of it.
    os.write(pool._result_queue._writer.fileno(), struct.pack("!i", 1000) + b"a part")  # type: ignore[attr-defined]
    pool.submit(time.sleep, 1000)

    workers._end(pool)

    thread.join(120)
    assert not thread.is_alive()


def test_killed_worker_is_noticed_when_the_pool_waits_for_the_rest_of_its_result(pool: ProcessPoolExecutor) -> None:
    os.write(pool._result_queue._writer.fileno(), struct.pack("!i", 1000) + b"a part")  # type: ignore[attr-defined]
    future = pool.submit(time.sleep, 1000)
    [worker] = workers._list_workers(pool)
    workers._check_workers(pool)

    worker.kill()
    worker.join(120)

    with pytest.raises(BrokenProcessPool):
        workers._check_workers(pool)
    assert not future.done(), "the pool has not noticed by itself"
    workers._end(pool)
