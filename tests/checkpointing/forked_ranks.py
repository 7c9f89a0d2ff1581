"""Ranks as forks of this process, before it has a thread of its own: torch is imported once, a rank starts in milliseconds.

Run as a program, never inside pytest. A rank's answer is pickled into a file; one that was killed has none.
"""

import os
import pickle
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # an optimizer imports it, half a second that every fork would pay again
import torch.distributed as dist


def start_rank(rank: int, size: int, folder: Path, act: Callable[[int], Any]) -> int:
    """Fork one rank of a gloo group that meets in `folder`, and return its pid."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        torch.set_num_threads(1)
        store = dist.FileStore(str(folder / "store"), size)  # type: ignore[attr-defined]  # torch does not list it
        dist.init_process_group("gloo", store=store, rank=rank, world_size=size)
        (folder / f"rank-{rank}").write_bytes(pickle.dumps(act(rank)))
        code = 0
    except BaseException:  # noqa: BLE001  # a fork must never return into its parent's code
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def run_ranks(size: int, folder: Path, act: Callable[[int], Any]) -> list[Any]:
    """Run `act` on `size` ranks and return their answers; one that failed answers with None."""
    folder.mkdir(parents=True)
    pids = [start_rank(rank, size, folder, act) for rank in range(size)]
    for pid in pids:
        os.waitpid(pid, 0)
    return [read_answer(folder, rank) for rank in range(size)]


def read_answer(folder: Path, rank: int) -> Any:
    file = folder / f"rank-{rank}"
    return pickle.loads(file.read_bytes()) if file.exists() else None
