"""What pods take whose job holds no place."""

from dataclasses import replace

import pytest
from queueing.queue_states import GPU, NOW

from oarlock_operator.policy.abandoned import OVERDUE_SECONDS
from oarlock_operator.queueing.capacity import Occupied
from oarlock_operator.queueing.leaving import find_leaving, keeps_pods
from oarlock_operator.reconcile.observed import ObservedPod

NEEDS = ((GPU, 8.0),)
RUNNING = ObservedPod(
    name="p", uid="u", owner_uid="j", attempt=0, rank=0, run_hash="h", phase="Running", created=NOW, node="n1"
)
ENDING = replace(RUNNING, deleting=True, delete_by=NOW + 30)


def find(pod: ObservedPod, *, is_kept: bool = False) -> Occupied | None:
    return find_leaving(pod, NEEDS, place=pod.node, is_kept=is_kept, now=NOW)


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
@pytest.mark.parametrize("is_kept", [True, False])
def test_pod_that_has_ended_takes_nothing(phase: str, is_kept: bool) -> None:  # noqa: FBT001
    assert find(replace(RUNNING, phase=phase), is_kept=is_kept) is None


@pytest.mark.parametrize(
    ("pod", "is_kept", "until"),
    [
        (RUNNING, False, NOW),
        (RUNNING, True, None),
        (ENDING, False, NOW + 30),
        (ENDING, True, NOW + 30),
        (replace(ENDING, delete_by=NOW - 1), False, NOW),
        (replace(ENDING, delete_by=NOW - OVERDUE_SECONDS), False, None),
    ],
    ids=["to-be-deleted", "kept", "ending", "kept-and-ending", "late", "overdue"],
)
def test_pod_gives_back_its_room_when_it_ends_and_never_if_it_is_kept(
    pod: ObservedPod,
    is_kept: bool,  # noqa: FBT001
    until: float | None,
) -> None:
    assert find(pod, is_kept=is_kept) == Occupied(node="n1", needs=NEEDS, until=until)


@pytest.mark.parametrize(
    ("phase", "policy", "keeps"),
    [
        ("Succeeded", {"cleanPodPolicy": "None"}, True),
        ("Failed", {"cleanPodPolicy": "None"}, True),
        ("Succeeded", {"cleanPodPolicy": "Running"}, False),
        ("Succeeded", {}, False),
        ("Succeeded", "nonsense", False),
        ("Queued", {"cleanPodPolicy": "None"}, False),
    ],
)
def test_only_a_finished_job_keeps_its_pods(phase: str, policy: object, keeps: bool) -> None:  # noqa: FBT001
    assert keeps_pods({"spec": {"runPolicy": policy}, "status": {"phase": phase}}) == keeps
