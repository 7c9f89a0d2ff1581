"""Opening a session: what the environment says, the device, the process group, the rank record, and how it all ends."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import cast

import torch
import torch.distributed as dist
from pydantic import ValidationError
from torch._C._distributed_c10d import HashStore

from oarlock_api import contract
from oarlock_api.contract import EXIT_SUSPENDED, Outcome, PodPhase
from oarlock_api.metrics import RANKABLE_METRICS
from oarlock_api.run import ScriptRun
from oarlock_trainer.config import LOCAL_RANK_ENV, RANK_ENV
from oarlock_trainer.distributed import Processes, wait_for_all
from oarlock_trainer.errors import ConfigError, RendezvousError
from oarlock_trainer.failures import classify_failure
from oarlock_trainer.process_death import die_with_parent
from oarlock_trainer.rank_record import RankRecord
from oarlock_trainer.session.place import Place
from oarlock_trainer.session.session import Session
from oarlock_trainer.signals import watch_for_stop
from oarlock_trainer.state import Stateful

_FOLDER_BY_HAND = "oarlock-session"
"""Where a program that is run by hand keeps its checkpoints, if OARLOCK_RUN_DIR does not say."""
_COLLECTIVE_TIMEOUT = timedelta(days=1)


@contextmanager
def open_session(**parts: torch.nn.Module | Stateful) -> Iterator[Session]:
    """Join the other processes, and tell the agent how the program does; every process opens a session, in its main thread.

    Args:
        parts: what is to be kept, as for `Session.keep`.

    Raises:
        ConfigError: if the environment makes no sense.
        RendezvousError: if the processes do not find one another.
    """
    if LOCAL_RANK_ENV in os.environ:
        die_with_parent()
    record = RankRecord.from_environment()
    record.beat(PodPhase.LOADING)
    try:
        place = read_place(os.environ)
        with watch_for_stop() as stop, _join(place, record) as processes:
            session = Session(place, processes, record=record, stop=stop)
            session.keep(**parts)
            yield session
            session.close()
    except SystemExit as end:
        _note_exit(record, end)
        raise
    except Exception as error:
        record.fail(classify_failure(error, rank=int(os.environ.get(RANK_ENV, "0"))))
        raise
    record.finish(Outcome.SUCCEEDED)


def _note_exit(record: RankRecord, end: SystemExit) -> None:
    """Record an end by `sys.exit`; one with a code of the program's own is the agent's to judge."""
    if end.code == EXIT_SUSPENDED:
        record.finish(Outcome.SUSPENDED)
    elif end.code in (None, 0):
        record.finish(Outcome.SUCCEEDED)


def read_place(environment: Mapping[str, str]) -> Place:
    """Return what the environment says of the run and of this process.

    Raises:
        ConfigError: if OARLOCK_RUN is not that of a script.
    """
    data = environment.get(contract.DATA_DIR_ENV)
    return Place(
        run=_read_run(environment.get(contract.RUN_ENV, "")),
        job_uid=environment.get(contract.JOB_UID_ENV, ""),
        attempt=int(environment.get(contract.ATTEMPT_ENV) or 0),
        run_dir=Path(environment.get(contract.RUN_DIR_ENV) or _FOLDER_BY_HAND).absolute(),
        data_dir=Path(data) if data else None,
        code_dir=Path(code) if (code := environment.get(contract.CODE_DIR_ENV)) else None,
        rank=int(environment.get(RANK_ENV) or 0),
        local_rank=int(environment.get(LOCAL_RANK_ENV) or 0),
        launched=RANK_ENV in environment,
    )


def _read_run(text: str) -> ScriptRun:
    if not text:  # by hand
        wire = {
            "checkpointEvery": {"minutes": 10},
            "keep": 3,
            "keepBest": {"metric": RANKABLE_METRICS[0]},
            "ranked": False,
        }
        return ScriptRun.from_wire({**wire, "gpu": torch.cuda.is_available(), "command": sys.argv})
    try:
        return ScriptRun.from_wire(json.loads(text))
    except (ValueError, ValidationError) as error:
        raise ConfigError(
            f"{contract.RUN_ENV} must be the run of a script: {error}",
            remedy="start the program by a TrainingJob with spec.script, or by hand without this variable",
        ) from None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Group:
    """The process group, and whether it is the session's to end."""

    control: dist.ProcessGroup
    is_own: bool


@contextmanager
def _join(place: Place, record: RankRecord) -> Iterator[Processes]:
    """Join the other processes, or take the group that the program has made; leave in order when all goes well."""
    device = _open_device(place)
    group = _open_group(place, device)
    suspended: SystemExit | None = None
    try:
        yield Processes(rank=dist.get_rank(), count=dist.get_world_size(), device=device, control=group.control)
    except SystemExit as end:
        if end.code != EXIT_SUSPENDED:  # an end that the others may not share
            raise
        suspended = end
    phase = PodPhase.SUSPENDING if suspended else PodPhase.EXPORTING
    wait_for_all(group.control, on_beat=partial(record.beat, phase))
    if group.is_own:
        dist.destroy_process_group()
    if suspended is not None:
        raise suspended


def _open_group(place: Place, device: torch.device) -> _Group:
    is_own = not dist.is_initialized()
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        if is_own and place.launched:
            dist.init_process_group(backend, timeout=_COLLECTIVE_TIMEOUT)
        elif is_own:
            dist.init_process_group(backend, store=HashStore(), rank=0, world_size=1, timeout=_COLLECTIVE_TIMEOUT)
    except (dist.DistError, RuntimeError, ValueError) as error:
        raise RendezvousError(
            f"rank {place.rank} did not find the other processes: {error}",
            remedy="check that the pods reach one another on the rendezvous port (network policies, DNS)",
        ) from error
    control = cast("dist.ProcessGroup", dist.new_group(backend="gloo", timeout=_COLLECTIVE_TIMEOUT))
    return _Group(control=control, is_own=is_own)


def _open_device(place: Place) -> torch.device:
    if not (place.run.gpu and torch.cuda.is_available()):
        return torch.device("cpu")
    device = torch.device("cuda", place.local_rank)
    torch.cuda.set_device(device)
    return device
