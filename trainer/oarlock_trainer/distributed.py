"""The processes of a run: joining them, spreading the model over them, keeping what gradients do not cover equal, parting.

One process without a launcher is a group of one, so that nothing else needs to ask. Control messages have a gloo group of
their own: they must never wait behind gradients, nor on a GPU.
"""

import inspect
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._C._distributed_c10d import HashStore
from torch.nn.parallel import DistributedDataParallel

from oarlock_trainer.config import TrainerConfig
from oarlock_trainer.errors import RendezvousError
from oarlock_trainer.leader_buffers import find_kept_buffers, take_from_leader
from oarlock_trainer.order import rows_of_rank
from oarlock_trainer.peers import Peer, describe_own_node, write_peers
from oarlock_trainer.rank_record import RANK_RECORD_DIR_ENV

_COLLECTIVE_TIMEOUT = timedelta(days=1)
"""A dead peer closes its connections; whether a silent one hangs is for the agent's progress deadline to say."""

_POLL_SECONDS = 0.02
_BEAT_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Processes:
    """This process among those of the run."""

    rank: int
    count: int
    device: torch.device
    control: dist.ProcessGroup
    """A gloo group of all ranks, for messages on the host."""

    @property
    def leads(self) -> bool:
        """Whether this is rank 0, which alone writes and reports."""
        return self.rank == 0

    def share(self, rows: int) -> slice:
        """Return which of `rows` rows are this rank's."""
        return rows_of_rank(self.rank, self.count, rows)


@contextmanager
def join_processes(config: TrainerConfig, device: torch.device, *, on_beat: Callable[[], None]) -> Iterator[Processes]:
    """Join the other processes; leave them in order when the context ends well.

    Args:
        config: which process this is.
        device: where it computes.
        on_beat: gives a sign of life, now and then while the others are waited for at the end.

    Raises:
        RendezvousError: if they do not find one another.
    """
    _initialise(config, device)
    control = cast("dist.ProcessGroup", dist.new_group(backend="gloo", timeout=_COLLECTIVE_TIMEOUT))
    _tell_peers(config, control)
    yield Processes(rank=config.rank, count=config.processes, device=device, control=control)
    wait_for_all(control, on_beat=on_beat)
    dist.destroy_process_group()


def wait_for_all(control: dist.ProcessGroup, *, on_beat: Callable[[], None]) -> None:
    """Wait until all ranks are here, with signs of life: rank 0 may export for long while the others have nothing to do.

    Without it a rank that is done early closes its connections under the others, which look failed then.
    """
    work = cast("dist.Work", dist.barrier(group=control, async_op=True))
    beaten = time.monotonic()
    while not work.is_completed():
        time.sleep(_POLL_SECONDS)
        if time.monotonic() - beaten >= _BEAT_SECONDS:
            beaten = time.monotonic()
            on_beat()
    work.wait()  # done: this raises what went wrong


def _tell_peers(config: TrainerConfig, control: dist.ProcessGroup) -> None:
    """Let the agent know where the others are, for when one of them falls silent."""
    records = os.environ.get(RANK_RECORD_DIR_ENV)
    if not config.launched or config.processes == 1:
        return
    peers: list[Peer | None] = [None] * config.processes
    dist.all_gather_object(peers, describe_own_node(os.environ), group=control)
    if records and config.local_rank == 0:
        write_peers(Path(records), peers)


def _initialise(config: TrainerConfig, device: torch.device) -> None:
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        if config.launched:
            dist.init_process_group(backend, timeout=_COLLECTIVE_TIMEOUT)
        else:
            dist.init_process_group(backend, store=HashStore(), rank=0, world_size=1, timeout=_COLLECTIVE_TIMEOUT)
    except (dist.DistError, RuntimeError, ValueError) as error:
        raise RendezvousError(
            f"rank {config.rank} did not find the other {config.processes - 1} processes: {error}",
            remedy="check that the pods reach one another on the rendezvous port (network policies, DNS)",
        ) from error


def spread_model(model: nn.Module, processes: Processes, *, seeks_idle: bool = False) -> nn.Module:
    """Return the model whose backward pass averages gradients over all processes.

    Buffers are not broadcast at every step: see `adopt_leader_buffers`. `seeks_idle` says that some parameters get no gradient;
    to look for them takes a walk through the graph in every step.
    """
    if processes.count == 1:
        return model
    devices = [processes.device] if processes.device.type == "cuda" else None
    # torch 2.13 renamed the option and warns about the old name.
    known = inspect.signature(DistributedDataParallel).parameters
    leave_buffers: dict[str, Any] = {
        "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers": False
    }
    return DistributedDataParallel(
        model,
        device_ids=devices,
        gradient_as_bucket_view=True,
        find_unused_parameters=seeks_idle,
        **leave_buffers,
    )


def hold_gradients(network: nn.Module, *, hold: bool) -> AbstractContextManager[object]:
    """Return the context of a backward pass, whose gradients stay on this rank if `hold` says that more are to come."""
    if hold and isinstance(network, DistributedDataParallel):
        return cast("AbstractContextManager[object]", network.no_sync())
    return nullcontext()


def gather_by_rank(values: Tensor, processes: int, group: dist.ProcessGroup) -> tuple[dist.Work, list[Tensor]]:
    """Begin to gather every rank's `values` on every rank; the list holds them by rank when the work is done."""
    gathered = [torch.empty_like(values) for _ in range(processes)]
    work = dist.all_gather(gathered, values, group=group, async_op=True)
    return cast("dist.Work", work), gathered


def adopt_leader_buffers(model: nn.Module, processes: Processes) -> None:
    """Give every rank the buffers of rank 0: running statistics of batch norms, which each rank gathers from its own rows.

    They have no effect on training, only on validation and on what is saved. So rank 0's are the truth, and are spread only
    before they are used, and whenever they are saved: a run that was interrupted, in which all ranks go on with what rank 0 has
    saved, then has the same ones as one that was not. What does have an effect is equal already: see `leader_buffers`. What no
    checkpoint holds is left alone.
    """
    if processes.count == 1:
        return
    for module, name in find_kept_buffers(model):
        buffer = getattr(module, name)
        # A program may have joined the processes by NCCL alone, which cannot send what is on the host.
        take_from_leader(buffer, processes.control if buffer.device.type == "cpu" else None)
