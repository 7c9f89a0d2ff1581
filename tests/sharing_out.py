"""How the tests are shared out among the workers of a run: by whole files, the longest first.

What a file's tests share is made once then, by the worker that runs them, and no worker is left alone at the end with what takes
minutes. The files that need the API server are two units, each with a control plane of its own: those in which jobs train, or
nodes are lost, wait for most of their time, and would hold up the others. A cluster that is there already is one unit's. (The groups
of pytest-xdist, which would say so as well, do nothing below pytest 9.2.)
"""

import os
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from control_plane.binaries import KUBECONFIG_ENV

API_SERVER = "the API server's"
OF_THE_API_SERVER = (
    "tests/kube/",
    "tests/kube_node/",
    "tests/conformance/",
    "tests/chart/test_chart.py",
)
SLOW_API_SERVER = "the slow API server's"
OF_THE_SLOW_API_SERVER = (
    "tests/kube/test_bad_inputs.py",
    "tests/kube/test_elastic_training.py",
    "tests/kube/test_high_availability.py",
    "tests/kube/test_life.py",
    "tests/kube/test_zombies.py",
    "tests/kube_node/",
)
_WITH_ITS_OWN = "tests/test_control_plane.py"
"""Starts control planes and stops them: it has no part in that of the others."""
_FIRST = (SLOW_API_SERVER, API_SERVER)
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
    """Name what a test is run together with: its file, or all files of an API server."""
    path = nodeid.split("::", maxsplit=1)[0]
    if path.startswith(OF_THE_SLOW_API_SERVER) and KUBECONFIG_ENV not in os.environ:
        return SLOW_API_SERVER
    return API_SERVER if path.startswith(OF_THE_API_SERVER) else path


def sort(items: list[pytest.Item]) -> None:
    """Put first what takes longest, file by file.

    Raises:
        pytest.UsageError: a test needs the API server, and its file is not one of those.
    """
    for item in items:
        if item.get_closest_marker("kube") and unit_of(item.nodeid) not in {API_SERVER, SLOW_API_SERVER, _WITH_ITS_OWN}:
            raise pytest.UsageError(f"{item.nodeid} needs the API server: add its file to tests/sharing_out.py")
    items.sort(key=lambda item: _rank(item.nodeid))


def _rank(nodeid: str) -> int:
    unit = unit_of(nodeid)
    if unit in _FIRST:
        return _FIRST.index(unit)
    folder = unit.removeprefix("tests/").split("/")[0]
    return len(_FIRST) + (LONGEST_FIRST.index(folder) if folder in LONGEST_FIRST else len(LONGEST_FIRST))


class UnitScheduling(LoadScopeScheduling):
    """Gives each worker a unit at a time, in the order in which the tests were collected."""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)
