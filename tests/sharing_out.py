"""How the tests are shared out among the workers of a run: by whole files, the longest first.

What a file's tests share is made once then, by the worker that runs them, and no worker is left alone at the end with what takes
minutes. All files that need the API server are one unit: a machine has room for one control plane. (The groups of pytest-xdist,
which would say so as well, do nothing below pytest 9.2.)
"""

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

API_SERVER = "the API server's"
OF_THE_API_SERVER = (
    "tests/kube/",
    "tests/kube_node/",
    "tests/conformance/",
    "tests/chart/test_chart.py",
)
_WITH_ITS_OWN = "tests/test_control_plane.py"
"""Starts control planes and stops them: it has no part in that of the others."""
LONGEST_FIRST = (
    "exactness",
    "faults",
    "training",
    "agent",
    "cli",
    "test_control_plane.py",
    "importing",
    "checkpointing",
    "reconciling",
)
"""Places whose tests start processes, or play many histories; all others are over in seconds."""


def unit_of(nodeid: str) -> str:
    """Name what a test is run together with: its file, or all files of the API server."""
    path = nodeid.split("::", maxsplit=1)[0]
    return API_SERVER if path.startswith(OF_THE_API_SERVER) else path


def sort(items: list[pytest.Item]) -> None:
    """Put first what takes longest, file by file.

    Raises:
        pytest.UsageError: a test needs the API server, and its file is not one of those.
    """
    for item in items:
        if item.get_closest_marker("kube") and unit_of(item.nodeid) not in {API_SERVER, _WITH_ITS_OWN}:
            raise pytest.UsageError(f"{item.nodeid} needs the API server: add its file to tests/sharing_out.py")
    items.sort(key=lambda item: _rank(item.nodeid))


def _rank(nodeid: str) -> int:
    unit = unit_of(nodeid)
    if unit == API_SERVER:
        return 0
    folder = unit.removeprefix("tests/").split("/")[0]
    return 1 + (LONGEST_FIRST.index(folder) if folder in LONGEST_FIRST else len(LONGEST_FIRST))


class UnitScheduling(LoadScopeScheduling):
    """Gives each worker a unit at a time, in the order in which the tests were collected."""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)
