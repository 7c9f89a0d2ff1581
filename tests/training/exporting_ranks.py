"""Ranks that are busy at the end. What one rank runs."""

import time
from pathlib import Path

import torch.distributed as dist
from torch import nn
from training.small_runs import RECORDS

from oarlock_api.contract import PodPhase
from oarlock_trainer.distributed import wait_for_all
from oarlock_trainer.rank_record import RankRecord

_LINGERED: list[int] = []


def linger(record: RankRecord) -> None:
    """Return once the record has been given a sign of life, by nobody here.

    Raises:
        TimeoutError: if there is none.
    """
    before, until = record._counter, time.monotonic() + 60.0
    while record._counter == before:
        if time.monotonic() > until:
            raise TimeoutError("no sign of life within 60 s")
        time.sleep(0.02)
    _LINGERED.append(record._counter)


def build_lingering(outputs: int) -> nn.Module:
    """Return a model whose first export in another form takes its time."""
    if RECORDS[-1].phases[-1] is PodPhase.EXPORTING and not _LINGERED:
        linger(RECORDS[-1])
    return nn.Sequential(nn.Flatten(), nn.Linear(256, 16), nn.ReLU(), nn.Linear(16, outputs))


def export_until_the_others_have_beaten(folder: Path) -> int:
    """Return how often this rank has beaten; rank 0 comes once the other has."""
    dist.init_process_group("gloo")
    group = dist.new_group(backend="gloo")
    assert isinstance(group, dist.ProcessGroup)
    beats = []

    def beat() -> None:
        beats.append(1)
        (folder / "beaten").touch()

    while dist.get_rank() == 0 and not (folder / "beaten").exists():
        time.sleep(0.02)
    wait_for_all(group, on_beat=beat)
    dist.destroy_process_group()
    return len(beats)
