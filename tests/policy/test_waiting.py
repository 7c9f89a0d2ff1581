"""What schedulers, kubelets and registries say, and what is made of it."""

from dataclasses import replace
from typing import Any

import pytest
from reconciling.job_states import accept, make_claim, make_pod

from oarlock_operator.policy.amounts import format_amount, parse_amount
from oarlock_operator.policy.images import IMAGE_REASONS
from oarlock_operator.policy.rooms import measure_rooms
from oarlock_operator.policy.scheduler_words import Hindrance, read_scheduler
from oarlock_operator.policy.wait import Surroundings, Wait
from oarlock_operator.policy.waiting import explain_wait
from oarlock_operator.reconcile.observed import ObservedNode, Taint

GPU = "nvidia.com/gpu"


def explain(surroundings: Surroundings | None = None, **fields: Any) -> Wait:
    placed = {"scheduled": True, "node": "node-a"} if "unschedulable" not in fields else {}
    pod = make_pod(status=accept().status, **{**placed, **fields})
    wait = explain_wait([pod], surroundings or Surroundings(pod_spec={"containers": [{"image": "mine:1"}]}))
    assert wait
    return wait


@pytest.mark.parametrize(
    ("quantity", "amount"),
    [("500m", 0.5), ("16", 16), ("128Gi", 2.0**37), ("1e3", 1000), ("2E", 2e18), ("?", 0), ("inf", 0), (8, 8), ("", 0)],
)
def test_quantities_are_read(quantity: object, amount: float) -> None:
    assert parse_amount(quantity) == amount


@pytest.mark.parametrize(
    ("resource", "amount", "text"),
    [
        ("cpu", 3.96, "3.9"),
        (GPU, 4.0, "4"),
        ("memory", 1.5 * 2.0**30, "1.5Gi"),
        ("memory", 12.0, "12"),
        ("cpu", 0, "0"),
    ],
)
def test_amounts_are_never_overstated(resource: str, amount: float, text: str) -> None:
    assert format_amount(resource, amount) == text


IMAGES = {
    "ImageNotFound": 'rpc error: code = NotFound desc = failed to pull and unpack image "r.io/x:1": r.io/x:1: not found',
    "ImageUnauthorized": "pull access denied, repository does not exist or may require authorization: insufficient_scope",
    "RegistryRateLimited": "unexpected status code 429 Too Many Requests: toomanyrequests: pull rate limit",
    "RegistryUnreachable": 'failed to do request: Head "https://r.io": dial tcp: lookup r.io: no such host',
    "ImageWrongPlatform": "no match for platform in manifest: not found",
    "NodeDiskFull": "failed to extract layer: write /var/lib: no space left on device",
}


@pytest.mark.parametrize("reason", IMAGES)
@pytest.mark.parametrize("told_by", ["state", "event"])
def test_kinds_of_bad_images_are_told_apart(reason: str, told_by: str) -> None:
    said = IMAGES[reason]
    wait = (
        explain(waiting_reason="ErrImagePull", waiting_message=said)
        if told_by == "state"
        else explain(
            waiting_reason="ImagePullBackOff",
            waiting_message='Back-off pulling image "r.io/x:1"',
            warning=f'Failed: Failed to pull image "r.io/x:1": {said}',
        )
    )

    assert wait.reason == reason
    assert "on node node-a cannot pull image" in wait.message


@pytest.mark.parametrize("reason", sorted(IMAGE_REASONS))
def test_image_is_named_when_nobody_says_more(reason: str) -> None:
    wait = explain(waiting_reason=reason)

    assert wait.reason in {"ImagePullFailed", "ImageNameInvalid", "ImageAbsent", "RegistryUnreachable"}
    assert "image mine:1: " in wait.message


@pytest.mark.parametrize(
    ("said", "reason", "parts"),
    [
        ('secret "token" not found', "SecretMissing", ("Secret token does not exist", "Create Secret token")),
        ('configmap "conf" not found', "ConfigMapMissing", ("ConfigMap conf",)),
        ("couldn't find key id in Secret team/token", "SecretKeyMissing", ("Secret token has no key id",)),
        ("container has runAsNonRoot and image will run as root", "RunsAsRoot", ("USER that is a number",)),
        ('exec: "python": executable file not found in $PATH', "ProgramMissing", ("trainer image",)),
        ("nvidia-container-cli: initialization error: driver", "GpuRuntimeFailed", ("cordon",)),
        ("something odd", "CreateContainerConfigError", ("something odd",)),
        ("", "CreateContainerConfigError", ("Check the Secrets",)),
    ],
)
def test_what_a_container_lacks_is_named(said: str, reason: str, parts: tuple[str, ...]) -> None:
    wait = explain(waiting_reason="CreateContainerConfigError", waiting_message=said)

    assert (wait.reason, wait.cause) == (reason, "ContainerRefused")
    assert all(part in wait.message for part in parts)


@pytest.mark.parametrize(
    ("warning", "reason"),
    [
        ('FailedMount: MountVolume.SetUp failed for volume "x" : secret "token" not found', "SecretMissing"),
        ('FailedMount: MountVolume.SetUp failed for volume "x" : mount failed: access denied by server', "VolumeNotMounted"),
        ('FailedAttachVolume: Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) x', "VolumeInUse"),
        ('FailedAttachVolume: AttachVolume.Attach failed for volume "pvc-1": no such disk', "VolumeNotAttached"),
        ("FailedCreatePodSandBox: plugin type=calico failed: no IPs", "PodNetworkFailed"),
        ("", "Creating"),
    ],
)  # fmt: skip
def test_what_a_pod_with_a_node_waits_for_is_told(warning: str, reason: str) -> None:
    assert explain(waiting_reason="ContainerCreating", warning=warning).reason == reason


OLD = "0/6 nodes are available: 1 Insufficient cpu, 2 node(s) had taint {gpu: reserved}, that the pod didn't tolerate, 3 node(s) didn't match node selector."
NEW = "0/6 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint {gpu: reserved}, 3 node(s) didn't match Pod's node affinity/selector. preemption: 0/6 nodes are available: 6 Preemption is not helpful for scheduling."


@pytest.mark.parametrize("message", [OLD, NEW], ids=["1.20", "1.30"])
def test_words_of_every_scheduler_mean_the_same(message: str) -> None:
    found = [(each.nodes, each.kind, each.detail) for each in read_scheduler(message)]

    assert found[:2] == [(1, Hindrance.SHORT, "cpu"), (2, Hindrance.TAINTED, "gpu=reserved")]
    assert found[2][:2] == (3, Hindrance.SELECTOR)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("node(s) had volume node affinity conflict", Hindrance.ZONE),
        ("node(s) didn't match pod affinity/anti-affinity", Hindrance.AFFINITY),
        ("node(s) didn't match pod anti-affinity rules", Hindrance.AFFINITY),
        ("node(s) were unschedulable", Hindrance.CORDONED),
        ("node(s) had taint {node.kubernetes.io/unreachable: }, that the pod didn't tolerate", Hindrance.NOT_READY),
        ("node(s) didn't have free ports for the requested pod ports", Hindrance.PORTS),
        ("node(s) didn't find available persistent volumes to bind", Hindrance.VOLUME),
        (
            "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode",
            Hindrance.VOLUME,
        ),
        ("Too many pods", Hindrance.FULL),
        ("node(s) of which nobody has heard", Hindrance.OTHER),
    ],
)
def test_obstacles_are_told_apart(said: str, kind: Hindrance) -> None:
    assert [each.kind for each in read_scheduler(f"0/1 nodes are available: 1 {said}.")] == [kind]
    assert "no node for pod" in explain(unschedulable=f"0/1 nodes are available: 1 {said}.").message


def node(name: str, gpus: float, **fields: Any) -> ObservedNode:
    return ObservedNode(name=name, is_ready=True, allocatable={GPU: gpus}, **fields)


RESERVED = (Taint(key="gpu", value="reserved", effect="NoSchedule"),)
NODES = (
    node("node-a", 8),
    node("node-b", 8),
    *(node(f"node-{name}", 8, taints=RESERVED) for name in "cde"),
)
SHORT = "0/5 nodes are available: 2 Insufficient nvidia.com/gpu, 3 node(s) had taint {gpu: reserved}, that the pod didn't tolerate."


def ask_gpus(count: int, **spec: Any) -> dict[str, Any]:
    return {"containers": [{"resources": {"requests": {GPU: str(count), "cpu": "4"}}}], **spec}


def test_shortage_says_what_is_free_and_where() -> None:
    rooms = measure_rooms(NODES, {"node-a": {GPU: 4.0}, "node-b": {GPU: 8.0}})

    wait = explain(Surroundings(pod_spec=ask_gpus(8), rooms=rooms), unschedulable=SHORT)

    assert wait.reason == "Unschedulable"
    assert "it needs 8 nvidia.com/gpu; free: 4 on node-a, 0 on node-b" in wait.message
    assert "3 nodes have an untolerated taint gpu=reserved (node-c, node-d, node-e)" in wait.message
    assert "It starts once as much is free on one node" in wait.message


def test_shortage_that_never_ends_says_so() -> None:
    rooms = measure_rooms(NODES, {})

    wait = explain(Surroundings(pod_spec=ask_gpus(16), rooms=rooms), unschedulable=SHORT)

    assert "No node that takes the pod has more than 8 nvidia.com/gpu: lower workers.gpusPerNode" in wait.message


def test_tolerated_taint_counts_as_room() -> None:
    spec = ask_gpus(8, tolerations=[{"key": "gpu", "operator": "Exists"}])
    wait = explain(
        Surroundings(pod_spec=spec, rooms=measure_rooms(NODES, {node.name: {GPU: 5.0} for node in NODES})),
        unschedulable="0/5 nodes are available: 5 Insufficient nvidia.com/gpu.",
    )

    assert "free: 3 on node-a, 3 on node-b, 3 on node-c, 3 on node-d and no more on 1 others" in wait.message


def test_shortage_is_told_without_figures_when_nodes_may_not_be_read() -> None:
    wait = explain(unschedulable=SHORT)

    assert "it needs nvidia.com/gpu, and 2 nodes have too little free" in wait.message


def test_claim_without_its_class_names_both() -> None:
    claim = replace(
        make_claim("lenet-checkpoints"),
        phase="Pending",
        message='ProvisioningFailed: storageclass.storage.k8s.io "fast" not found',
    )
    wait = explain(
        Surroundings(claims={claim.name: claim}),
        unschedulable="0/1 nodes are available: 1 pod has unbound immediate PersistentVolumeClaims.",
    )

    assert wait.reason == "StorageClassMissing"
    assert "claim lenet-checkpoints needs StorageClass fast, which does not exist" in wait.message


def test_claim_that_nobody_serves_is_named() -> None:
    claim = replace(make_claim("lenet-checkpoints"), phase="Pending", storage_class="slow")

    wait = explain(
        Surroundings(claims={claim.name: claim}),
        unschedulable="0/1 nodes are available: 1 pod has unbound immediate PersistentVolumeClaims.",
    )

    assert "claim lenet-checkpoints of StorageClass slow is Pending: nobody has made its volume" in wait.message
