"""A rank that is busy at the end while the other waits. What one rank runs."""

import time
from pathlib import Path

import torch.distributed as dist

from oarlock_trainer.distributed import wait_for_all


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
