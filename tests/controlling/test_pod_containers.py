"""The trainer's container decides how a pod is, whatever webhooks have added to it; what holds it up is named."""

from dataclasses import replace
from typing import Any

import pytest
from controlling.test_observing import make_pod
from reconciling.job_states import accept, plan, status_of

from oarlock_api.v1alpha1.training_job import CleanPodPolicy
from oarlock_operator import observing
from oarlock_operator.cluster.resources import RESOURCES
from oarlock_operator.policy.cleanup import choose_pods_to_remove
from oarlock_operator.policy.wait import Surroundings, Wait
from oarlock_operator.policy.waiting import explain_wait
from oarlock_operator.reconcile.observed import ObservedPod

RUNS = {"running": {"startedAt": "2026-11-21T20:00:05Z"}}
WAITS = {"waiting": {"reason": "PodInitializing"}}
DONE = {"terminated": {"exitCode": 0, "reason": "Completed"}}
FAILED = {"terminated": {"exitCode": 1, "reason": "Error", "message": "no route"}}


def see(*, phase: str, trainer: Any, init: Any = (), beside: Any = (), staying: str = "", **status: Any) -> ObservedPod:
    """Observe a pod with these containers, by the states that they are in."""
    inits = [{"name": f"init-{number}", "image": "r.io/init:1", **each} for number, each in enumerate(init)]
    others = [{"name": f"beside-{number}", "state": each} for number, each in enumerate(beside)]
    raw = make_pod(
        phase=phase,
        initContainerStatuses=inits,
        containerStatuses=[*others, {"name": "trainer", "state": trainer}],
        **status,
    )
    policy = {"restartPolicy": "Always"}
    raw["spec"]["initContainers"] = [
        {"name": each["name"], **(policy if each["name"] == staying else {})} for each in inits
    ]
    return observing.observe_pod(RESOURCES["Pod"].trim(raw)).pod


@pytest.mark.parametrize(
    ("phase", "trainer", "seen", "lingers"),
    [
        ("Running", DONE, "Succeeded", True),
        ("Running", FAILED, "Failed", True),
        ("Pending", RUNS, "Running", False),
        ("Failed", DONE, "Succeeded", False),
        ("Pending", WAITS, "Pending", False),
        ("Unknown", RUNS, "Unknown", False),
        ("Succeeded", DONE, "Succeeded", False),
    ],
)
def test_trainers_container_decides_whatever_runs_beside_it(phase: str, trainer: Any, seen: str, lingers: bool) -> None:  # noqa: FBT001
    pod = see(phase=phase, trainer=trainer, beside=[RUNS])

    assert (pod.phase, pod.lingers, pod.holdup) == (seen, lingers, None)


@pytest.mark.parametrize("beside", [[], [DONE], [FAILED]])
def test_kubelet_says_that_a_pod_has_ended_when_nothing_outlives_the_trainer(beside: list[Any]) -> None:
    """It tidies up before: a pod that were taken for one that lingers would be deleted with its log."""
    pod = see(phase="Running", trainer=DONE, beside=beside)

    assert (pod.phase, pod.lingers) == ("Running", False)


def test_eviction_stands_though_the_trainer_ended_well() -> None:
    assert see(phase="Failed", trainer=DONE, reason="Evicted").phase == "Failed"


def test_port_of_a_sidecar_is_not_taken_for_the_agents() -> None:
    raw = make_pod(phase="Running")
    raw["spec"]["containers"].insert(0, {"name": "mesh", "ports": [{"name": "status", "containerPort": 15021}]})

    assert observing.observe_pod(raw).status_port == 8470


@pytest.mark.parametrize(
    ("init", "reason", "part"),
    [
        ([{"state": RUNS}], "InitContainerRunning", "init container init-0 of pod job-1234-2-0 on node node-1 runs since"),
        (
            [{"state": DONE}, {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": FAILED}],
            "InitContainerCrashing",
            "init container init-1 of pod job-1234-2-0 on node node-1 fails again and again: the last time it ended with exit code 1: no",
        ),
        (
            [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "manifest unknown"}}}],
            "ImageNotFound",
            "cannot pull image r.io/init:1 of init container init-0: the registry has no such image",
        ),
        (
            [{"state": {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "ca" not found'}}}],
            "SecretMissing",
            "init container init-0 of pod job-1234-2-0 on node node-1 cannot start: Secret ca does not exist",
        ),
        (
            [{"state": {"waiting": {"reason": "RunContainerError", "message": "exec: executable file not found"}}}],
            "ProgramMissing",
            "See `kubectl logs job-1234-2-0 -c init-0`",
        ),
        ([{"state": {"waiting": {"reason": "PodInitializing"}}}], "Creating", "is being created"),
    ],
)  # fmt: skip
def test_init_container_that_holds_up_the_trainer_is_named(init: Any, reason: str, part: str) -> None:
    wait = explain(see(phase="Pending", trainer=WAITS, init=init))

    assert wait.reason == reason
    assert part in wait.message


def explain(pod: ObservedPod) -> Wait:
    wait = explain_wait([pod], Surroundings(pod_spec={"containers": [{"image": "mine:1"}]}))
    assert wait
    return wait


def test_init_container_that_stays_is_waited_for_only_until_it_has_started() -> None:
    helper = {"state": RUNS, "started": False}
    waiting = see(phase="Pending", trainer=WAITS, init=[helper], staying="init-0")
    started = see(phase="Pending", trainer=WAITS, init=[{**helper, "started": True}], staying="init-0")

    assert "has not passed its startup probe" in explain(waiting).message
    assert started.holdup is None


def test_sidecar_without_image_is_named_while_the_trainer_waits_for_nothing_else() -> None:
    unpulled = {"waiting": {"reason": "ErrImagePull", "message": "not found"}}

    creating = see(phase="Pending", trainer={"waiting": {"reason": "ContainerCreating"}}, beside=[unpulled])
    training = see(phase="Pending", trainer=RUNS, beside=[unpulled])

    assert "of container beside-0: the registry has no such image" in explain(creating).message
    assert (training.phase, training.holdup) == ("Running", None)


def test_attempt_has_failed_when_an_init_container_has() -> None:
    job = accept()
    [known] = job.pods
    seen = see(phase="Failed", trainer=WAITS, init=[{"state": FAILED}])
    pod = replace(seen, name=known.name, owner_uid=known.owner_uid, attempt=0, rank=0, run_hash=known.run_hash)

    status = status_of(plan(replace(job, pods=(pod,), confirmed=True)))

    assert (status.phase, status.reason) == ("Restarting", "InitContainerFailed")
    assert "init container init-0 of pod" in status.message
    assert "ended with exit code 1: no route, and the trainer starts only after it" in status.message


@pytest.mark.parametrize(("policy", "removed"), [("None", 0), ("Running", 1), ("All", 2)])
def test_pod_whose_sidecar_runs_on_counts_as_running_when_pods_are_removed(policy: str, removed: int) -> None:
    lingering = see(phase="Running", trainer=DONE, beside=[RUNS])
    ended = see(phase="Succeeded", trainer=DONE, beside=[DONE])

    assert len(choose_pods_to_remove([lingering, ended], CleanPodPolicy(policy))) == removed
