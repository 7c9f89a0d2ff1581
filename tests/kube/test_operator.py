"""The operator under kopf on a real API server, with pods that run on paper."""

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kube.operator_process import OperatorProcess
from kube.scene import Object, Scene, attempt_of, make_job

from oarlock_operator import names

pytestmark = [pytest.mark.kube, pytest.mark.usefixtures("paper_node")]

StartOperator = Callable[..., OperatorProcess]


def train(scene: Scene, *, nodes: int = 1) -> list[Object]:
    """Return the pods of a job while they run."""
    scene.import_data()
    scene.apply(make_job(nodes=nodes))
    pods = scene.wait_for_pods(nodes)
    for pod in pods:
        scene.run_pod(pod)
    return pods


def test_job_succeeds_and_kubectl_shows_how(scene: Scene, operator: OperatorProcess) -> None:
    pod = train(scene)[0]
    scene.end_pod(pod, step=94, steps=94, epoch=2.0, metrics={"validation/accuracy": 0.9801})

    scene.wait_for_phase("Succeeded")

    table = scene.kubectl("get", "tj,dset")
    assert all(word in table for word in ("Succeeded", "98.01", "Ready", "4000"))
    described = scene.kubectl("describe", "tj", "lenet")
    assert "Succeeded" in described.split("Events:")[1]


def test_no_annotation_and_no_finalizer_of_kopf_is_left_on_an_object(scene: Scene, operator: OperatorProcess) -> None:
    train(scene)

    for kind, name in (("tj", "lenet"), ("dset", "digits")):
        metadata = scene.get(kind, name)["metadata"]
        assert set(metadata.get("annotations", {})) <= {"kubectl.kubernetes.io/last-applied-configuration"}
        assert set(metadata.get("finalizers", [])) <= {names.IN_USE_FINALIZER}


def test_invalid_job_says_everything_at_once_and_creates_nothing(scene: Scene, operator: OperatorProcess) -> None:
    scene.apply(make_job(recipe={"epochs": 2, "maxSteps": 5}, model={"name": "lenett"}))

    message = scene.wait_for_phase("Invalid")["message"]

    assert "maxSteps" in message
    assert "spec.model.name must be a built-in model" in message
    assert scene.pods() == []


def test_work_goes_on_when_all_connections_are_cut_again_and_again(
    scene: Scene, account: Path, start_operator: StartOperator
) -> None:
    with scene.control_plane.flaky_network(account) as (network, kubeconfig):
        start_operator(kubeconfig=kubeconfig)
        with _every(0.3, network.drop_connections):
            pods = train(scene, nodes=2)
            for pod in pods:
                scene.end_pod(pod, step=94, steps=94)
            scene.wait_for_phase("Succeeded")


def test_work_goes_on_when_the_api_server_was_restarted(scene: Scene, operator: OperatorProcess) -> None:
    if scene.control_plane.is_external:
        pytest.skip("NOT RUN: the API server is not ours to restart")
    pods = train(scene)
    scene.control_plane.restart_apiserver()

    scene.end_pod(pods[0], step=94, steps=94)

    scene.wait_for_phase("Succeeded")
    operator.check()


def test_changes_are_found_when_the_network_was_away(
    scene: Scene, account: Path, start_operator: StartOperator
) -> None:
    with scene.control_plane.flaky_network(account) as (network, kubeconfig):
        operator = start_operator(kubeconfig=kubeconfig)
        pods = train(scene, nodes=2)
        # Of an attempt that was not seen to run, a pod that goes is made again.
        scene.wait_for(lambda: scene.status().get("nodes") == 2, "the gang is not seen to run")
        network.refuse()
        scene.delete_pod(pods[1])
        time.sleep(3)
        network.restore()

        scene.wait_for(lambda: scene.status().get("attempt") == 1, "there is no new attempt")
        scene.finish_deletions()
        scene.wait_for_pods(2, attempt=1)
        operator.check()


def test_nothing_is_lost_or_doubled_when_the_operator_is_killed_all_the_time(
    scene: Scene, start_operator: StartOperator
) -> None:
    operator, chance = start_operator(), random.Random(7)
    recorder = PodRecorder(scene)

    def crash() -> None:
        operator.kill()
        operator.start()

    # After it has come up it lives for up to two seconds more: long enough to do some of what there is to do.
    with recorder, _every(lambda: chance.uniform(0.0, 2.0), crash):
        pods = train(scene, nodes=2)
        failure = {"cause": "UserError", "message": "KeyError"}
        scene.end_pod(pods[1], outcome="Failed", exit_code=70, failure=failure)
        scene.wait_for(lambda: scene.status().get("attempt") == 1, "there is no new attempt", seconds=240)
        scene.wait_for(lambda: _finish(scene, attempt=0), "the old pods do not go", seconds=240)
        pods = scene.wait_for_pods(2, attempt=1)
        for pod in pods:
            scene.run_pod(pod)
            scene.end_pod(pod, step=94, steps=94)
        status = scene.wait_for_phase("Succeeded", seconds=240)

    assert (status["attempt"], status["restartCount"], status["countedRestarts"]) == (1, 1, 1)
    assert len(status["failures"]) == 1
    assert sorted(recorder.created) == sorted(set(recorder.created))
    assert len(recorder.created) == 1 + 2 + 2


def test_job_starts_afresh_when_it_is_deleted_and_applied_again_at_once(
    scene: Scene, operator: OperatorProcess
) -> None:
    old = train(scene)[0]
    scene.kubectl("delete", "tj", "lenet")
    scene.apply(make_job())
    scene.wait_for(lambda: any(pod["metadata"]["uid"] != old["metadata"]["uid"] for pod in scene.pods()), "no new pod")
    scene.wait_for(lambda: _finish(scene) and len(scene.pods()) == 1, "the old pod stays")

    new = scene.wait_for_pods()[0]
    assert new["metadata"]["ownerReferences"][0]["uid"] == scene.get("tj", "lenet")["metadata"]["uid"]
    claims = scene.kubectl("get", "pvc", "-o", "name").split()
    assert sorted(claims) == ["persistentvolumeclaim/digits-data", "persistentvolumeclaim/lenet-checkpoints"]


def test_job_says_who_is_in_the_way_until_he_is_gone(scene: Scene, start_operator: StartOperator) -> None:
    operator = start_operator()
    scene.import_data()
    operator.stop()
    scene.apply(make_job())
    name = names.worker_pod_name("lenet", scene.get("tj", "lenet")["metadata"]["uid"], attempt=0, rank=0)
    stranger = {"containers": [{"name": "x", "image": "none"}], "nodeSelector": {"nowhere": "true"}}
    scene.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": stranger})
    operator.start()
    scene.wait_for(lambda: scene.status().get("reason") == "NameTaken", "the stranger is not named")

    scene.kubectl("delete", "pod", name, "--wait=false")

    assert attempt_of(scene.wait_for_pods()[0]) == 0


def test_job_ends_right_when_somebody_else_writes_to_it_all_the_time(scene: Scene, operator: OperatorProcess) -> None:
    scene.import_data()
    scene.apply(make_job())
    numbers = iter(range(10_000))

    def meddle() -> None:
        path = f"/apis/oarlock.dev/v1alpha1/namespaces/{scene.namespace}/trainingjobs/lenet"
        scene.control_plane.api.ask("PATCH", path, {"metadata": {"labels": {"meddled": str(next(numbers))}}})

    with _every(0.3, meddle):
        pod = scene.wait_for_pods()[0]
        scene.run_pod(pod)
        scene.end_pod(pod, step=94, steps=94)
        scene.wait_for_phase("Succeeded")


def test_dataset_stays_until_the_job_that_uses_it_is_finished(scene: Scene, operator: OperatorProcess) -> None:
    pod = train(scene)[0]
    scene.wait_for(lambda: scene.get("dset", "digits")["metadata"].get("finalizers"), "the Dataset is not held")
    scene.kubectl("delete", "dset", "digits", "--wait=false")
    time.sleep(1)
    assert scene.get("dset", "digits")["metadata"]["deletionTimestamp"]

    scene.end_pod(pod, step=94, steps=94)

    scene.wait_for(lambda: "NotFound" in scene.kubectl("get", "dset", "digits", check=False), "the Dataset stays")


def test_refusal_of_the_quota_is_told(scene: Scene, operator: OperatorProcess) -> None:
    scene.import_data()
    spec = {"hard": {"count/pods": "1"}}
    scene.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": spec})
    path = f"/api/v1/namespaces/{scene.namespace}/resourcequotas/few"
    scene.wait_for(lambda: scene.control_plane.api.get(path)["status"].get("used"), "the quota is not counted")

    scene.apply(make_job())

    scene.wait_for(lambda: "exceeded quota" in scene.status().get("message", ""), "the quota is not named")


def test_probes_and_metrics_are_served(scene: Scene, operator: OperatorProcess) -> None:
    train(scene)

    assert operator.ask(operator.probe_port, "/healthz") == (200, "ok")
    # What a pass has written is seen before the pass is counted.
    for series in (
        'oarlock_operator_reconcile_seconds_count{kind="TrainingJob",result="done"}',
        'oarlock_operator_api_request_seconds_count{code="201",resource="pods",verb="create"}',
    ):
        scene.wait_for(lambda name=series: name in operator.ask(operator.metrics_port, "/metrics")[1], series)


def test_operator_ends_in_order_when_it_is_asked_to(scene: Scene, operator: OperatorProcess) -> None:
    began = time.monotonic()
    operator.stop()

    assert time.monotonic() - began < 9
    assert "Traceback" not in operator.read_log()


class PodRecorder:
    """Notes the name of every pod that is created, once for each UID."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._uids: dict[str, str] = {}
        self._watching = _every(0.05, self._look)

    @property
    def created(self) -> list[str]:
        return list(self._uids.values())

    def _look(self) -> None:
        for pod in (*self._scene.pods(), *self._scene.pods(names.IMPORT_ROLE)):
            self._uids[pod["metadata"]["uid"]] = pod["metadata"]["name"]

    def __enter__(self) -> None:
        self._watching.__enter__()

    def __exit__(self, *_: object) -> None:
        self._watching.__exit__(None, None, None)


@contextlib.contextmanager
def _every(seconds: float | Callable[[], float], act: Callable[[], object]) -> Iterator[None]:
    """Do something over and over, in a thread, while the context lasts."""
    end = threading.Event()

    def repeat() -> None:
        while not end.wait(seconds() if callable(seconds) else seconds):
            act()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def _finish(scene: Scene, *, attempt: int | None = None) -> bool:
    """Let pods go that are being deleted; return whether none is left that should."""
    scene.finish_deletions()
    left = [
        pod for pod in scene.pods() if attempt in {None, attempt_of(pod)} and "deletionTimestamp" in pod["metadata"]
    ]
    old = [pod for pod in scene.pods() if attempt == attempt_of(pod)] if attempt is not None else []
    return not left and not old
