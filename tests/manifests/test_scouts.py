"""A scout goes where a worker would go, and is none."""

from typing import Any

from manifests.manifest_cases import JOB, make_run
from manifests.pod_security import find_violations

from oarlock_api.v1alpha1.training_job import RunPolicy
from oarlock_operator import names
from oarlock_operator.manifests.scouts import build_scout_pod
from oarlock_operator.manifests.workers import build_worker_pod

RUN = make_run()


def build() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a scout and the worker in whose place it stands."""
    scout = build_scout_pod(RUN, owner=JOB, attempt=3, rank=2, policy=RunPolicy(), excluded=["bad"])
    worker = build_worker_pod(RUN, owner=JOB, attempt=3, rank=2, nodes=3, policy=RunPolicy(), excluded=["bad"])
    return scout, worker


def test_scout_is_placed_like_the_worker() -> None:
    scout, worker = (pod["spec"] for pod in build())

    for field in ("affinity", "volumes", "securityContext", "nodeSelector", "tolerations", "priorityClassName"):
        assert scout.get(field) == worker.get(field)
    assert scout["affinity"]
    assert scout["containers"][0]["resources"] == worker["containers"][0]["resources"]


def test_scout_belongs_to_the_attempt_and_is_no_worker() -> None:
    scout, worker = (pod["metadata"] for pod in build())

    assert (scout["name"], scout["ownerReferences"]) == (worker["name"], worker["ownerReferences"])
    assert scout["annotations"][names.RUN_HASH_ANNOTATION] == RUN.hash
    assert scout["labels"][names.ATTEMPT_LABEL] == "3"
    assert scout["labels"][names.ROLE_LABEL] == names.SCOUT_ROLE != worker["labels"][names.ROLE_LABEL]


def test_scout_is_restricted_and_ends_at_once_when_it_is_asked_to() -> None:
    scout, _ = build()

    assert list(find_violations(scout)) == []
    assert scout["spec"]["terminationGracePeriodSeconds"] <= 5
    assert "env" not in scout["spec"]["containers"][0]
    assert "volumeMounts" not in scout["spec"]["containers"][0]
