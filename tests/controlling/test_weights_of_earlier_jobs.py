"""A job that begins with the weights of another one, and what becomes of the claim that holds them."""

from typing import Any

import pytest
from controlled_world import JOB, NAMESPACE, World, checkpoint

from oarlock_operator import names, observing
from oarlock_operator.reconcile.plans import Reference

CLAIM = Reference(kind="PersistentVolumeClaim", namespace=NAMESPACE, name="lenet-checkpoints")


@pytest.mark.parametrize("is_labelled", [True, False], ids=["watched", "read when asked for"])
async def test_a_job_waits_for_the_claim_of_an_earlier_one_and_resumes_when_both_are_gone(
    world: World,
    is_labelled: bool,  # noqa: FBT001
) -> None:
    (pod,) = await world.train()
    world.end_pod(pod, step=100, steps=100, checkpoint_best=checkpoint(50))
    await world.settle()
    claim = world.cluster.objects[CLAIM]
    world.cluster.remove(CLAIM)

    heir = await world.apply_job(name="heir", model={"name": "lenet", "initFrom": {"job": "lenet"}})
    assert (world.status(heir)["phase"], world.status(heir)["reason"]) == ("WaitingForData", "InitJobClaimMissing")

    labels = claim["metadata"]["labels"] if is_labelled else {}
    await world.cluster.create({**claim, "metadata": {**claim["metadata"], "labels": labels}})
    await world.pass_time(15)
    pod = find_pod(world, attempt=0)
    assert find_mounted(pod) == {"digits-data", "heir-checkpoints", "lenet-checkpoints"}

    world.run_pods()
    world.answer(pod, step=50, checkpoint_latest=checkpoint(50))
    await world.pass_time(60)
    world.cluster.remove(CLAIM)
    world.cluster.remove(JOB)
    world.end_pod(pod, outcome="Failed", exit_code=81, failure={"cause": "ProcessKilled", "message": "killed"})
    await world.settle()
    world.finish_deletions()
    await world.pass_time(60)

    assert find_mounted(find_pod(world, attempt=1)) == {"digits-data", "heir-checkpoints"}
    reads = world.cluster.count("get", "PersistentVolumeClaim")
    await world.pass_time(120)
    assert world.cluster.count("get", "PersistentVolumeClaim") == reads, "what nobody needs is read over and over"


def find_pod(world: World, *, attempt: int) -> dict[str, Any]:
    labels = {names.JOB_LABEL: "heir", names.ATTEMPT_LABEL: str(attempt)}
    (pod,) = (pod for pod in world.pods() if labels.items() <= pod["metadata"]["labels"].items())
    return pod


def find_mounted(pod: dict[str, Any]) -> set[str]:
    return {
        volume["persistentVolumeClaim"]["claimName"]
        for volume in pod["spec"]["volumes"]
        if "persistentVolumeClaim" in volume
    }


@pytest.mark.parametrize(
    ("status", "is_asked_for"),
    [
        ({}, True),
        ({"checkpoint": {"latest": None}, "failures": [{"cause": "ProcessKilled"}]}, True),
        ({"checkpoint": {"latest": {"step": 1}}, "failures": [{"cause": "StorageFailed"}]}, True),
        (
            {"checkpoint": {"latest": {"step": 1}}, "failures": [{"cause": "StorageFailed"}, {"cause": "Evicted"}]},
            False,
        ),
        ({"checkpoint": {"latest": {"step": 1}}, "failures": "nonsense"}, False),
    ],
)
def test_the_claim_of_the_first_weights_is_looked_at_while_a_new_attempt_might_need_it(
    status: dict[str, Any],
    is_asked_for: bool,  # noqa: FBT001
) -> None:
    raw = {"spec": {}, "status": {**status, "run": {"firstWeights": {"claim": "w"}}}}

    assert ("w" in observing.find_claims(raw)) is is_asked_for
