"""What the queue reads of a job's object."""

from typing import Any

import pytest

from oarlock_operator.queueing.demand import read_demand

ELASTIC = {"minNodes": 2, "maxNodes": 8}


def count_pods(phase: str, *, gang: dict[str, Any] | None = None, **workers: Any) -> tuple[int, int]:
    asked = {"nodes": 4, "gpusPerNode": 8, "gpuResource": "nvidia.com/gpu", "cpu": 1, "memory": "1Gi"}
    status = {"phase": phase, "run": {"workers": {**asked, **workers}}, **({"gang": gang} if gang else {})}
    metadata = {"uid": "1", "creationTimestamp": "2027-01-15T08:00:00Z"}
    demand = read_demand({"metadata": metadata, "spec": {}, "status": status})
    assert demand
    return demand.pods, demand.least


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
