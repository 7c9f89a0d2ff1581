from collections.abc import Iterator

import pytest
from checkpointing.tiny_runs import one_gloo_rank


@pytest.fixture(scope="module")
def _one_rank() -> Iterator[None]:
    with one_gloo_rank():
        yield


@pytest.fixture(autouse=True)
def _group(_one_rank: None) -> None:
    """Every test of checkpoints runs as the one rank of a gloo group."""
