"""Every fault of the cluster's side, all at once: the status of each job names cause, culprit and remedy within 30 seconds."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from faults.adverse_servers import ThrottlingProxy, Webhook
from faults.cluster_faults import CLUSTER_FAULTS
from faults.fault import Fault, find_difference, match_shape
from faults.injections import INJECTIONS, SCHEDULING, count_pods, names_to_act
from faults.stage import Stage, dump
from faults.weights_injections import release
from kube.operator_process import OperatorProcess
from kube.paper_node import PaperNode
from kube.scene import DATASET, Object, Scene
from kube.test_starting import make_account

from control_plane.certificates import Authority
from control_plane.errors import ControlPlaneError
from control_plane.kubeconfigs import Kubeconfig, read_kubeconfig, write_kubeconfig
from control_plane.ports import pick_free_ports
from control_plane.server import ControlPlane
from control_plane.tools import kubectl_path
from oarlock_operator import names

pytestmark = pytest.mark.kube

BOUND_SECONDS = 30.0
PATIENCE_SECONDS = 90.0
NODES = ("faults-small", "faults-tainted", "faults-cordoned", "faults-lost", "faults-gone")
DEFAULTS = {
    "PROGRESS_MIN_SECONDS": "5",
    "PROGRESS_WRITE_SECONDS": "30",
    "RETRY_DELAY_SECONDS": "5",
    "QUEUEING": "off",
    "ALLOWED_SERVICE_ACCOUNTS": "*",
}


@dataclass(slots=True)
class Outcome:
    """What has become of all of them."""

    stage: Stage
    named: dict[str, float] = field(default_factory=dict)
    """Seconds from the injection of a fault until the status named it."""
    placeless: set[str] = field(default_factory=set)
    """Faults whose pods have come, and wait for a node."""
    last: dict[str, Object] = field(default_factory=dict)
    """The last status of each job."""


@pytest.fixture(scope="module")
def outcome(
    control_plane: ControlPlane, account: Path, paper_node: PaperNode, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Outcome]:
    """Inject all faults, and watch until every one is named."""
    folder = tmp_path_factory.mktemp("faults")
    scene = Scene(control_plane, control_plane.create_namespace(f"faults-{int(time.time())}"), folder)
    stage, authority = Stage(scene), Authority(folder / "authority")
    with (
        Webhook(*authority.write_server_certificate("webhook"), says="images must be signed") as webhook,
        throttle(control_plane, account, folder) as kubeconfig,
        OperatorProcess(kubeconfig, folder / "operator", namespace=scene.namespace, settings=DEFAULTS),
    ):
        prepare(stage, webhook.url, authority.certificate_file)
        try:
            with always(lambda: keep_alive(stage), every=2.0):
                yield play(stage)
        finally:
            clean_up(stage)


def prepare(stage: Stage, webhook: str, authority: Path) -> None:
    """Make what the faults are made of: nodes, classes, quotas, webhooks."""
    stage.add_node("faults-small", gpus=4)
    stage.add_node("faults-tainted", taints=[{"key": "gpu", "value": "reserved", "effect": "NoSchedule"}])
    stage.add_node("faults-cordoned", unschedulable=True)
    stage.add_node("faults-lost")
    stage.add_node("faults-gone")
    stage.add_node("faults-silent", ready=False)
    stage.refuse_pods("webhook-denies", webhook, authority)
    stage.refuse_pods("webhook-down", f"https://127.0.0.1:{pick_free_ports(1)[0]}/", authority)
    priority = {"metadata": {"name": "faults-low"}, "value": 10}
    stage.make("/apis/scheduling.k8s.io/v1/priorityclasses", priority)
    stage.make("/apis/storage.k8s.io/v1/storageclasses", storage_class("faults-slow"))
    stage.make("/apis/storage.k8s.io/v1/storageclasses", storage_class("faults-quota"))
    scope = {"scopeName": "PriorityClass", "operator": "In", "values": ["faults-low"]}
    quotas: dict[str, Object] = {
        "few-pods": {"hard": {"pods": "0"}, "scopeSelector": {"matchExpressions": [scope]}},
        "little-storage": {"hard": {"faults-quota.storageclass.storage.k8s.io/requests.storage": "1Gi"}},
    }
    for name, spec in quotas.items():
        stage.make(stage.path("resourcequotas"), {"metadata": {"name": name}, "spec": spec})
    limit = {"type": "PersistentVolumeClaim", "max": {"storage": "50Gi"}}
    stage.make(stage.path("limitranges"), {"metadata": {"name": "small"}, "spec": {"limits": [limit]}})
    bind_elsewhere(stage)
    stage.scene.wait_for(
        lambda: all(stage.api.get(stage.path("resourcequotas", name))["status"].get("hard") for name in quotas),
        "the quotas are not in force",
    )


def storage_class(name: str) -> Object:
    return {"metadata": {"name": name}, "provisioner": "example.com/nobody"}


def bind_elsewhere(stage: Stage) -> None:
    """Make a claim whose volume is on a node that does not exist."""
    expression = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["elsewhere"]}
    spec = {"accessModes": ["ReadWriteMany"], "storageClassName": "faults-static"}
    reference = {"namespace": stage.scene.namespace, "name": "zoned"}
    affinity = {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}
    volume = {"capacity": {"storage": "1Gi"}, "hostPath": {"path": "/none"}, "nodeAffinity": affinity}
    body = {"metadata": {"name": "faults-zoned"}, "spec": {**spec, **volume, "claimRef": reference}}
    stage.make("/api/v1/persistentvolumes", body)
    claim = {**spec, "volumeName": "faults-zoned", "resources": {"requests": {"storage": "1Gi"}}}
    stage.make(stage.path("persistentvolumeclaims"), {"metadata": {"name": "zoned"}, "spec": claim})


def play(stage: Stage) -> Outcome:
    """Apply all jobs, inject what is to be injected as soon as it can be, and watch."""
    outcome = Outcome(stage)
    prepare_data(stage)
    waiting = set(names_to_act())
    with ThreadPoolExecutor(max_workers=6) as pool, always(lambda: look(outcome)):
        list(pool.map(lambda name: begin(stage, name), INJECTIONS))
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline and (waiting or len(outcome.named) < len(CLUSTER_FAULTS)):
            waiting -= set(pool.map(lambda due: act(stage, *due), find_due(stage, waiting)))
            time.sleep(0.2)
    return outcome


def begin(stage: Stage, name: str) -> None:
    """Apply a job, and do what must be done before its pods are there."""
    injection = INJECTIONS[name]
    stage.apply_job(name, **injection.job)
    if injection.before:
        injection.before(stage, name)
    if not injection.act:
        stage.injected[name] = time.monotonic()


def find_due(stage: Stage, waiting: set[str]) -> list[tuple[str, list[Object]]]:
    """Return the jobs all of whose pods have a node."""
    pods = stage.pods_by_job()
    found = ((name, pods.get(name, [])) for name in sorted(waiting))
    return [
        (name, own)
        for name, own in found
        if len(own) == count_pods(INJECTIONS[name]) and all(pod["spec"].get("nodeName") for pod in own)
    ]


def act(stage: Stage, name: str, pods: list[Object]) -> str:
    inject = INJECTIONS[name].act
    assert inject
    inject(stage, pods)
    stage.injected[name] = time.monotonic()
    return name


@contextmanager
def always(do: Callable[[], None], *, every: float = 0.2) -> Iterator[None]:
    """Do something over and over, in a thread."""
    end = threading.Event()

    def repeat() -> None:
        while not end.wait(every):
            with suppress(OSError, ControlPlaneError):  # a server that is busy is asked again
                do()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def look(outcome: Outcome) -> None:
    stage = outcome.stage
    for name in stage.pods_by_job().keys() & SCHEDULING.keys() - outcome.placeless:
        # That a pod finds no node is no fault before there is one: the jobs come in one burst.
        outcome.placeless.add(name)
        stage.injected[name] = time.monotonic()
    statuses, now, injected = stage.statuses(), time.monotonic(), dict(stage.injected)
    for fault in CLUSTER_FAULTS:
        if fault.name in outcome.named or fault.name not in injected:
            continue
        outcome.last[fault.name] = statuses.get(fault.name, {})
        if not find_difference(fault, outcome.last[fault.name]):
            outcome.named[fault.name] = now - injected[fault.name]


def prepare_data(stage: Stage) -> None:
    """Have one Dataset Ready, one Failed, and one that is being deleted."""
    stage.scene.import_data()
    broken = {**DATASET, "metadata": {"name": "broken"}}
    leaving = {**DATASET, "metadata": {"name": "leaving", "finalizers": ["example.com/held"]}}
    stage.scene.apply(broken, leaving)
    stage.scene.kubectl("delete", "dset", "leaving", "--wait=false")
    pod = stage.scene.wait_for(lambda: find_import(stage, "broken"), "there is no pod that imports")
    failure = {"cause": "DataCorrupt", "message": "row 7 has 3 columns, the others 785", "remedy": "mend the file"}
    stage.scene.end_pod(pod, outcome="Failed", exit_code=74, failure=failure)


def find_import(stage: Stage, dataset: str) -> Object | None:
    pods = stage.scene.pods(names.IMPORT_ROLE)
    own = (pod for pod in pods if pod["metadata"]["labels"][names.DATASET_LABEL] == dataset)
    return next((pod for pod in own if pod["spec"].get("nodeName")), None)


def keep_alive(stage: Stage) -> None:
    for name, gpus in list(stage.alive.items()):
        stage.beat(name, gpus=gpus)


def clean_up(stage: Stage) -> None:
    """Take away what is not of the namespace."""
    stage.scene.kubectl("delete", "tj,dset,pods", "--all", "--wait=false", "--grace-period=0", "--force")
    stage.scene.kubectl(
        "patch", "dset", "leaving", "--type=merge", "-p", json.dumps({"metadata": {"finalizers": None}})
    )
    release(stage)
    for path in (
        *(f"/api/v1/nodes/{name}" for name in (*NODES, "faults-silent")),
        *(
            f"/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/webhook-{name}"
            for name in ("denies", "down")
        ),
        *(f"/apis/storage.k8s.io/v1/storageclasses/faults-{name}" for name in ("slow", "quota")),
        "/apis/scheduling.k8s.io/v1/priorityclasses/faults-low",
        "/api/v1/persistentvolumes/faults-zoned",
    ):
        stage.api.ask("DELETE", path)


@contextmanager
def throttle(control_plane: ControlPlane, account: Path, folder: Path) -> Iterator[Path]:
    """Yield a kubeconfig that leads through a proxy which throttles the creation of one job's pods."""
    throttled = f'"{names.JOB_LABEL}": "api-throttled"'.encode()

    def throttles(method: str, path: str, body: bytes) -> bool:
        return (
            method == "POST" and path.endswith("/pods") and (throttled in body or throttled.replace(b" ", b"") in body)
        )

    original = read_kubeconfig(account)
    with ThrottlingProxy(control_plane.api, throttles) as proxy:
        through = Kubeconfig(cluster={"server": proxy.url}, user=original.user, namespace="default")
        yield write_kubeconfig(folder / "through.kubeconfig", through)


@pytest.mark.parametrize("fault", CLUSTER_FAULTS, ids=lambda fault: fault.name)
def test_status_names_cause_culprit_and_remedy_within_half_a_minute(outcome: Outcome, fault: Fault) -> None:
    status = outcome.last.get(fault.name, {})
    assert fault.name in outcome.named, f"{find_difference(fault, status)}\n{dump(outcome.last, fault.name)}"

    # What is bounded in seconds takes as many times as long as processes share a core.
    slowness = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    assert fault.clock or outcome.named[fault.name] <= BOUND_SECONDS * slowness


def test_every_injection_has_its_row_and_there_are_forty() -> None:
    assert {fault.name for fault in CLUSTER_FAULTS} == set(INJECTIONS)
    assert len(CLUSTER_FAULTS) >= 40


def ask_doctor(outcome: Outcome, *arguments: str, kubeconfig: Path | None = None) -> tuple[int, str]:
    """Run `oarlock doctor` as a user does; return its exit code and what it printed."""
    scene = outcome.stage.scene
    place = ("-n", scene.namespace, "--kubeconfig", str(kubeconfig or scene.control_plane.kubeconfig))
    command = [sys.executable, "-c", "from oarlock.cli import main; main()", "doctor", *arguments, *place]
    path = f"{kubectl_path().parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=150, env={**os.environ, "PATH": path}
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["cpus-short", "provisioning-fails"])
def test_doctor_says_what_the_status_says(outcome: Outcome, name: str) -> None:
    [fault] = [fault for fault in CLUSTER_FAULTS if fault.name == name]

    code, said = ask_doctor(outcome, name, "-o", "json")

    report = json.loads(said)
    assert (code, report["healthy"], report["reason"]) == (1, False, fault.reason)
    assert match_shape(fault.message, report["verdict"])
    assert match_shape(fault.remedy, report["verdict"])
    assert report["unread"] == []


def test_doctor_finds_nothing_wrong_with_a_job_that_went_well(outcome: Outcome) -> None:
    stage, scene = outcome.stage, outcome.stage.scene
    stage.apply_job("healthy")
    pod = scene.wait_for(lambda: bound_pod(stage, "healthy"), "there is no pod with a node")
    scene.run_pod(pod)
    scene.end_pod(pod, step=94, steps=94)
    scene.wait_for_phase("Succeeded", name="healthy")

    code, said = ask_doctor(outcome, "healthy")

    assert code == 0
    assert "✓ TrainingJob healthy is Succeeded" in said


def bound_pod(stage: Stage, job: str) -> Object | None:
    return next((pod for pod in stage.pods_by_job().get(job, []) if pod["spec"].get("nodeName")), None)


def test_doctor_goes_on_without_rights_on_nodes(outcome: Outcome) -> None:
    stage = outcome.stage
    resources = [["oarlock.dev", "trainingjobs", "datasets"], ["", "pods", "events", "persistentvolumeclaims"]]
    rules = [{"apiGroups": [group], "resources": kinds, "verbs": ["get", "list"]} for group, *kinds in resources]
    reader = make_account(stage.scene.control_plane, stage.scene.namespace, rules)

    code, said = ask_doctor(outcome, "cpus-short", kubeconfig=reader)

    assert code == 1
    assert "it needs 8 cpu; free: 4 on faults-small" in said
    assert "nodes: " in said.split("Not read")[1]


def test_doctor_names_the_jobs_that_there_are_when_one_is_missing(outcome: Outcome) -> None:
    code, said = ask_doctor(outcome, "cpu-short")

    assert code == 1
    assert "there is no TrainingJob cpu-short in namespace" in said
    assert "affinity-unmatched" in said
