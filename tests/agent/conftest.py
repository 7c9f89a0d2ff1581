from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from agent.pods import Pod, running_pod


@pytest.fixture
def start_pod(tmp_path: Path) -> Iterator[Callable[..., Pod]]:
    """Start pods that are gone, with all that they ran, when the test ends."""
    with ExitStack() as stack:

        def start(scenario: str, *, mode: str = "train", **changes: str) -> Pod:
            return stack.enter_context(running_pod(tmp_path, scenario, mode=mode, **changes))

        yield start
