"""Validation: every sample is counted exactly once, whatever the number of processes.

Each rank takes consecutive rows; sums are added in 64 bits in the order of the ranks. Long validations ask now and then whether
some rank is to stop, all at the same batch.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from oarlock_trainer.batches import Samples, read_validation
from oarlock_trainer.devices import compute_in
from oarlock_trainer.distributed import Processes, adopt_leader_buffers, gather_by_rank
from oarlock_trainer.tasks import Task

_BATCHES_BETWEEN_STOPS = 32


@torch.inference_mode()
def validate(
    model: nn.Module,
    samples: Samples,
    *,
    task: Task,
    processes: Processes,
    precision: torch.dtype,
    rows: int,
    is_stopping: Callable[[], bool],
    on_beat: Callable[[], None],
) -> NDArray[np.float64] | None:
    """Return the task's tallies over all samples [task.tallies], or None if some rank has been asked to stop.

    Every rank calls it with its own model, `rows` samples at a time.
    """
    adopt_leader_buffers(model, processes)
    model.eval()
    try:
        sums = torch.zeros(task.tallies, dtype=torch.float64, device=processes.device)
        for number, ids in enumerate(_list_ids(len(samples), rows=rows, processes=processes)):
            if number % _BATCHES_BETWEEN_STOPS == 0 and _is_any_stopping(is_stopping(), processes):
                return None
            prepared = task.prepare(read_validation(samples, ids, task=task))
            with compute_in(precision, processes.device):
                outputs = model(prepared.inputs)
            sums += task.tally(outputs, prepared.targets)
            on_beat()
    finally:
        model.train()
    return _add_over_ranks(sums.cpu(), processes)


def _list_ids(samples: int, *, rows: int, processes: Processes) -> Iterator[NDArray[np.int64]]:
    """Yield this rank's ids, batch by batch; all ranks yield equally often, so that they can ask one another in between."""
    share = processes.share(samples)
    largest_share = -(-samples // processes.count)
    for start in range(share.start, share.start + largest_share, rows):
        yield np.arange(min(start, share.stop), min(start + rows, share.stop))


def _is_any_stopping(stopping: bool, processes: Processes) -> bool:  # noqa: FBT001  # its one subject
    flag = torch.tensor([float(stopping)])
    dist.all_reduce(flag, op=dist.ReduceOp.MAX, group=processes.control)
    return bool(flag.item())


def _add_over_ranks(sums: Tensor, processes: Processes) -> NDArray[np.float64]:
    work, gathered = gather_by_rank(sums, processes.count, processes.control)
    work.wait()
    total: NDArray[np.float64] = sum((by_rank.numpy() for by_rank in gathered), start=np.zeros(len(sums)))
    return total
