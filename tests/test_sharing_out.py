"""The tests themselves: no file is torn in two, and an API server has one worker."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import sharing_out

from control_plane.binaries import KUBECONFIG_ENV

COLLECTED = [
    "tests/kube/test_a.py::test_1",
    "tests/kube/test_a.py::test_2[x@y]",
    "tests/kube/test_life.py::test_1",
    "tests/kube_node/test_b.py::test_1",
    "tests/conformance/test_c.py::test_1",
    *(f"tests/exactness/test_d.py::test_{number}" for number in range(9)),
    *(f"tests/api/test_e.py::test_{number}" for number in range(9)),
    "tests/api/test_f.py::test_1",
]


@dataclass(eq=False)
class Worker:
    """Remembers which tests it was given."""

    gateway: object = field(default_factory=lambda: SimpleNamespace(id="worker"))
    given: list[str] = field(default_factory=list)
    shutting_down: bool = False

    def send_runtest_some(self, indices: list[int]) -> None:
        self.given += [COLLECTED[index] for index in indices]

    def shutdown(self) -> None:
        self.shutting_down = True


@pytest.fixture
def config(pytestconfig: pytest.Config) -> SimpleNamespace:
    values = {"maxprocesses": None, "tx": ["popen", "popen"]}
    return SimpleNamespace(option=SimpleNamespace(loadscopereorder=True), hook=pytestconfig.hook, getvalue=values.get)


def share_out(config: SimpleNamespace) -> list[set[str]]:
    """Let two workers run all tests, and return the units that each has met."""
    workers = [Worker(), Worker()]
    scheduler = sharing_out.UnitScheduling(config)
    for worker in workers:
        scheduler.add_node(worker)
        scheduler.add_node_collection(worker, COLLECTED)
    scheduler.schedule()
    done: set[str] = set()
    while left := [(worker, nodeid) for worker in workers for nodeid in worker.given if nodeid not in done]:
        for worker, nodeid in left:
            scheduler.mark_test_complete(worker, COLLECTED.index(nodeid))
            done.add(nodeid)
    assert done == set(COLLECTED)
    return [{sharing_out.unit_of(nodeid) for nodeid in worker.given} for worker in workers]


def test_files_stay_whole_and_each_api_server_has_one_worker(config: SimpleNamespace) -> None:
    first, second = share_out(config)

    assert not first & second
    assert sharing_out.API_SERVER in first
    assert sharing_out.SLOW_API_SERVER in second


def test_one_worker_has_all_of_the_api_server_when_it_is_an_existing_cluster(
    config: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KUBECONFIG_ENV, "/somewhere")

    first, second = share_out(config)

    assert sharing_out.API_SERVER in first
    assert sharing_out.SLOW_API_SERVER not in first | second
    assert "tests/exactness/test_d.py" in second


def as_items(nodeids: list[str], *, marker: str = "") -> list[pytest.Item]:
    return [cast("pytest.Item", SimpleNamespace(nodeid=nodeid, get_closest_marker=marker.__eq__)) for nodeid in nodeids]


def test_longest_come_first_whatever_the_order_of_collection() -> None:
    items = as_items(COLLECTED[::-1])

    sharing_out.sort(items)

    units = list(dict.fromkeys(sharing_out.unit_of(item.nodeid) for item in items))
    servers = [sharing_out.SLOW_API_SERVER, sharing_out.API_SERVER]
    assert units == [*servers, "tests/exactness/test_d.py", "tests/api/test_f.py", "tests/api/test_e.py"]


def test_file_must_be_known_when_it_needs_the_api_server() -> None:
    with pytest.raises(pytest.UsageError, match="test_f"):
        sharing_out.sort(as_items(["tests/api/test_f.py::test_1"], marker="kube"))


def test_all_places_that_are_named_exist() -> None:
    of_servers = (*sharing_out.OF_THE_API_SERVER, *sharing_out.OF_THE_SLOW_API_SERVER)
    places = (*of_servers, *(f"tests/{folder}" for folder in sharing_out.LONGEST_FIRST))
    root = Path(__file__).parents[1]

    assert [place for place in places if not (root / place).exists()] == []
