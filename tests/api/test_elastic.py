"""Elastic jobs in the API: what fits all their sizes, and the one field that stays open."""

from typing import Any

import celpy
import pytest
from api.test_resolve import job_spec, run_of

from oarlock_api.crd import training_job_crd
from oarlock_api.resolve import UnresolvableError, first_spec_change

ELASTIC = {"minNodes": 1, "maxNodes": 4}


def elastic(nodes: int, **workers: Any) -> dict[str, Any]:
    return {"nodes": nodes, "elastic": ELASTIC, **workers}


def test_volume_and_run_fit_the_largest_size() -> None:
    run = run_of({"workers": elastic(1)})

    assert (run.workers.nodes, run.workers.most_nodes) == (1, 4)
    assert run.checkpoints.access_modes == ["ReadWriteMany"]
    assert run_of({"workers": {"nodes": 1}}).checkpoints.access_modes == ["ReadWriteOnce"]


def test_batch_must_do_for_the_largest_size() -> None:
    with pytest.raises(UnresolvableError, match="must be at least the number of processes, 4"):
        run_of({"workers": elastic(1), "recipe": {"batchSize": 3}})


@pytest.mark.parametrize(
    ("before", "after", "path"),
    [
        (elastic(1), elastic(3), None),
        (elastic(1), elastic(3, gpusPerNode=1), "spec.workers.gpusPerNode"),
        (elastic(1), {"nodes": 1, "elastic": {"minNodes": 1, "maxNodes": 5}}, "spec.workers.elastic.maxNodes"),
        (elastic(2), {"nodes": 2}, "spec.workers.elastic"),
        ({"nodes": 1}, {"nodes": 2}, "spec.workers.nodes"),
        ({"nodes": 1}, elastic(1), "spec.workers.elastic"),
    ],
)
def test_only_the_size_of_an_elastic_job_may_change(
    before: dict[str, Any], after: dict[str, Any], path: str | None
) -> None:
    volume = {"checkpoints": {"volume": {"accessModes": ["ReadWriteMany"]}}}
    change = first_spec_change(run_of({"workers": before, **volume}), job_spec({"workers": after, **volume}))

    assert (change.path if change else None) == path
    assert is_allowed_by_the_server(before, after) is (path is None)


def is_allowed_by_the_server(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Evaluate the rules of the CRD on an update of an accepted job."""
    [version] = training_job_crd()["spec"]["versions"]
    environment = celpy.Environment()
    scope = {
        "self": celpy.json_to_cel({"spec": {"workers": after}}),
        "oldSelf": celpy.json_to_cel({"spec": {"workers": before}, "status": {"run": {}}}),
    }
    rules = version["schema"]["openAPIV3Schema"]["x-kubernetes-validations"]
    verdicts = [environment.program(environment.compile(rule["rule"])).evaluate(scope) for rule in rules]
    return all(bool(verdict) for verdict in verdicts)
