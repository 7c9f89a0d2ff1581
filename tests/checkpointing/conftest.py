from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist


@pytest.fixture(scope="module")
def _one_rank() -> Iterator[None]:
    torch.set_num_threads(1)
    store = dist.HashStore()  # type: ignore[attr-defined]  # torch does not list it
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture(autouse=True)
def _group(_one_rank: None) -> None:
    """Every test of checkpoints runs as the one rank of a gloo group."""
