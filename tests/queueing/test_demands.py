"""What the queue reads of a job's object."""

from typing import Any

import pytest
from queueing.queue_states import NOW

from oarlock_operator.policy.exclusion import FORGOTTEN_SECONDS
from oarlock_operator.policy.times import format_time
from oarlock_operator.queueing.demand import Demand, read_demand

ELASTIC = {"minNodes": 2, "maxNodes": 8}


def count_pods(phase: str, *, gang: dict[str, Any] | None = None, **workers: Any) -> tuple[int, int]:
    demand = read(phase, gang=gang, **workers)
    return demand.pods, demand.least


def read(
    phase: str, *, gang: dict[str, Any] | None = None, spec: dict[str, Any] | None = None, **workers: Any
) -> Demand:
    asked = {"nodes": 4, "gpusPerNode": 8, "gpuResource": "nvidia.com/gpu", "cpu": 1, "memory": "1Gi"}
    status = {"phase": phase, "run": {"workers": {**asked, **workers}}, **({"gang": gang} if gang else {})}
    metadata = {"uid": "1", "creationTimestamp": "2027-01-15T08:00:00Z"}
    demand = read_demand({"metadata": metadata, "spec": spec or {}, "status": status})
    assert demand
    return demand


@pytest.mark.parametrize(
    ("phase", "facts", "demanded"),
    [
        ("Queued", {}, (4, 4)),
        ("Training", {}, (4, 4)),
        ("Queued", {"elastic": ELASTIC}, (4, 2)),
        ("Training", {"elastic": ELASTIC}, (4, 2)),
        ("Training", {"elastic": ELASTIC, "gang": {"nodes": 3, "wanted": 4}}, (3, 2)),
        ("Queued", {"elastic": ELASTIC, "nodes": 1}, (1, 1)),
    ],
)
def test_elastic_job_would_begin_with_its_fewest_nodes_and_holds_those_that_it_has(
    phase: str, facts: dict[str, Any], demanded: tuple[int, int]
) -> None:
    assert count_pods(phase, **facts) == demanded


@pytest.mark.parametrize(
    ("asked", "facts", "wanted"),
    [
        ({"nodes": 6}, {"elastic": ELASTIC}, 6),
        ({"nodes": 99}, {"elastic": ELASTIC}, 8),
        ({}, {"elastic": ELASTIC}, 2),
        ({"nodes": "nonsense"}, {"elastic": ELASTIC}, 4),
        ({"nodes": 6}, {}, 0),
    ],
)
def test_elastic_job_wants_what_its_spec_says_now(asked: dict[str, Any], facts: dict[str, Any], wanted: int) -> None:
    assert read("Training", spec={"workers": asked}, **facts).wanted == wanted


def test_node_is_avoided_for_some_hours_only() -> None:
    workers = {
        "nodes": 1,
        "gpusPerNode": 8,
        "gpuResource": "nvidia.com/gpu",
        "podTemplate": {"nodeSelector": {"a": "b"}},
    }
    excluded = [{"node": "n1", "reason": "2 faults: Hung", "since": format_time(NOW)}]
    status = {"phase": "Queued", "run": {"workers": workers}, "excludedNodes": excluded}

    demand = read_demand({"metadata": {"uid": "1"}, "spec": {}, "status": status})

    assert demand
    there, later = (demand.find_placement(now=NOW + seconds) for seconds in (60, FORGOTTEN_SECONDS))
    assert (there.avoided, later.avoided) == (("n1",), ())
    assert there.selector == later.selector == (("a", "b"),)
