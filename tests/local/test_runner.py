"""Running manifests one after the other: stopping, resuming, failing, beginning anew. The test plays the controller."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from oarlock.local.cluster import LocalCluster
from oarlock.local.machine import Machine
from oarlock.local.object_store import reference_to
from oarlock.local.runs_folder import RunsFolder
from oarlock.local.session import LocalSession
from oarlock.manifests.problems import ManifestsError
from oarlock.manifests.reading import Manifest, read_manifests
from oarlock.running.interrupts import StopRequests
from oarlock.running.outcomes import End, Outcome, find_exit_code
from oarlock.running.runner import Runner
from oarlock_operator.cluster.port import ConflictError

Object = dict[str, Any]
MACHINE = Machine(cpus=2, memory=2**32)
DATASET = """\
apiVersion: oarlock.dev/v1alpha1
kind: Dataset
metadata: {name: digits}
spec: {source: {package: {name: x, version: '1', path: y.csv}}, layout: {csv: {}}}
"""
JOB = """\
apiVersion: oarlock.dev/v1alpha1
kind: TrainingJob
metadata: {name: lenet}
spec: {dataset: {name: digits}, model: {name: lenet}, workers: {nodes: 8}}
"""
CHECKPOINT = {
    "claim": "c",
    "latest": {"step": 7, "epoch": 1.0, "path": "x", "bytes": 1, "time": "2026-01-01T00:00:00Z"},
}


class Notes:
    """A screen that remembers."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def show(self, item: Object) -> None: ...

    def settle(self) -> None: ...


class Scene:
    def __init__(self, folder: Path) -> None:
        self.cluster = LocalCluster(folder, machine=MACHINE)
        self.stop, self.screen, self.folder = StopRequests(), Notes(), folder
        background = [asyncio.create_task(asyncio.sleep(1000))]
        self._background = background
        self.session = LocalSession(RunsFolder(root=folder), self.cluster, background)
        self.runner = Runner(self.session, self.screen, self.stop, machine=MACHINE)

    def read(self, *texts: str) -> list[Manifest]:
        file = self.folder / "all.yaml"
        file.write_text("---\n".join(texts))
        return read_manifests([file])

    async def put(self, manifest: Manifest, **status: Any) -> Object:
        """Make an object as an earlier run left it."""
        stored = await self.cluster.apply(manifest.body)
        return await self.write(stored, **status)

    async def write(self, item: Object, **status: Any) -> Object:
        version = item["metadata"]["resourceVersion"]
        status = {"observedGeneration": item["metadata"]["generation"], **status}
        return await self.cluster.write_status(reference_to(item), resource_version=version, status=status)

    async def play(self, answer: Callable[[Object], dict[str, Any] | None]) -> None:
        """Give each Dataset and job the status that `answer` says."""
        while True:
            for kind in ("Dataset", "TrainingJob"):
                for item in await self.cluster.list(kind):
                    if status := answer(item):
                        with contextlib.suppress(ConflictError):  # it changed: look again
                            await self.write(item, **status)
            await asyncio.sleep(0.02)

    async def run(
        self, manifests: list[Manifest], answer: Callable[[Object], dict[str, Any] | None] = lambda _: None
    ) -> list[Outcome]:
        playing = asyncio.create_task(self.play(answer))
        try:
            return await asyncio.wait_for(self.runner.run(manifests), 10)
        finally:
            playing.cancel()

    def close(self) -> None:
        for task in self._background:
            task.cancel()
        self.cluster.close()


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.close()


def succeed(item: Object) -> dict[str, Any]:
    return {"phase": "Ready" if item["kind"] == "Dataset" else "Succeeded"}


async def test_each_object_is_applied_when_the_one_before_it_is_done(scene: Scene) -> None:
    seen: list[set[str]] = []

    def answer(item: Object) -> dict[str, Any]:
        seen.append({each["kind"] for each in scene.cluster._store.peek() if each["kind"] != "Node"})
        return succeed(item)

    outcomes = await scene.run(scene.read(DATASET, JOB), answer)

    assert [outcome.end for outcome in outcomes] == [End.SUCCEEDED, End.SUCCEEDED]
    assert seen[0] == {"Dataset"}
    assert scene.screen.notes == [
        "fitted lenet to this machine: workers.nodes: 8 → 1 (this is one machine; --nodes starts more pods on it)"
    ]
    assert find_exit_code(outcomes) == 0


async def test_nothing_further_is_applied_when_an_import_fails(scene: Scene) -> None:
    outcomes = await scene.run(scene.read(DATASET, JOB), lambda _: {"phase": "Failed"})

    assert [outcome.end for outcome in outcomes] == [End.FAILED]
    assert not await scene.cluster.list("TrainingJob")
    assert find_exit_code(outcomes) == 1


def suspend_on_request(item: Object) -> dict[str, Any]:
    asked = item["spec"]["runPolicy"]["suspend"]
    condition = {
        "type": "Suspended",
        "status": "True",
        "reason": "Suspended",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    return (
        {"phase": "Suspended", "conditions": [condition]}
        if asked
        else {"phase": "Training", "run": {"hash": "x", "checkpoints": {"claim": "c"}}}
    )


async def test_job_is_suspended_when_somebody_asks_to_stop(scene: Scene) -> None:
    scene.stop.request()
    outcomes = await scene.run(scene.read(JOB), suspend_on_request)

    assert [outcome.end for outcome in outcomes] == [End.SUSPENDED]
    assert "Saving a checkpoint" in scene.screen.notes[-1]
    assert find_exit_code(outcomes) == 75


async def test_job_is_left_to_die_when_somebody_asks_three_times(scene: Scene) -> None:
    def answer(item: Object) -> dict[str, Any]:
        if scene.stop.count < 3:
            scene.stop.request()
        return {"phase": "Training"}

    outcomes = await scene.run(scene.read(JOB), answer)

    assert [outcome.end for outcome in outcomes] == [End.KILLED]
    assert find_exit_code(outcomes) == 130


async def test_import_is_stopped_at_once_when_somebody_asks(scene: Scene) -> None:
    scene.stop.request()
    outcomes = await scene.run(scene.read(DATASET, JOB), lambda _: {"phase": "Importing"})

    assert [outcome.end for outcome in outcomes] == [End.SUSPENDED]


async def test_job_goes_on_with_its_workers_when_it_was_suspended(scene: Scene) -> None:
    (job,) = scene.read(JOB)
    (earlier,) = scene.read(JOB.replace("nodes: 8", "nodes: 3"))
    await scene.put(earlier, phase="Suspended", run={"hash": "x", "checkpoints": {"claim": "c"}}, checkpoint=CHECKPOINT)
    (outcome,) = await scene.run([job], lambda item: None if item["spec"]["runPolicy"]["suspend"] else succeed(item))

    assert outcome.object["spec"]["workers"]["nodes"] == 3
    assert scene.screen.notes == ["the last checkpoint of lenet is that of step 7"]


async def test_nothing_is_done_when_all_is_done_already(scene: Scene) -> None:
    manifests = scene.read(DATASET, JOB)
    for manifest in manifests:
        await scene.put(manifest, **succeed(manifest.body))
    outcomes = await scene.run(manifests)

    assert [outcome.end for outcome in outcomes] == [End.ALREADY, End.ALREADY]


async def test_import_is_tried_again_when_it_failed_before(scene: Scene) -> None:
    (dataset,) = scene.read(DATASET)
    failed = await scene.put(dataset, phase="Failed")
    old = failed["metadata"]["uid"]
    (outcome,) = await scene.run([dataset], lambda item: None if item["metadata"]["uid"] == old else succeed(item))

    assert outcome.end is End.SUCCEEDED
    assert outcome.object["metadata"]["uid"] != old


async def test_failed_job_is_tried_again_on_its_checkpoints(scene: Scene) -> None:
    (job,) = scene.read(JOB)
    facts = {
        "run": {"hash": "x", "checkpoints": {"claim": "c"}},
        "checkpoint": CHECKPOINT,
        "attempt": 2,
        "nodes": 1,
        "restarts": {"StorageFull": 3},
    }
    verdict = {"reason": "StorageFull", "countedRestarts": 3, "completionTime": "2026-01-01T00:00:00Z"}
    failed = await scene.put(job, phase="Failed", **facts, **verdict)
    seen: list[Object] = []

    def answer(item: Object) -> dict[str, Any] | None:
        seen.append(item["status"])
        return succeed(item) if item["status"].get("phase") != "Failed" else None

    (outcome,) = await scene.run([job], answer)
    first = next(status for status in seen if status.get("phase") != "Failed")

    assert (outcome.end, outcome.object["metadata"]["uid"]) == (End.SUCCEEDED, failed["metadata"]["uid"])
    assert {name: first.get(name) for name in facts} == {**facts, "attempt": 3, "nodes": 0}
    assert (first.get("countedRestarts"), first.get("completionTime")) == (0, None)
    assert scene.screen.notes[-2:] == [
        "lenet failed before (StorageFull) and is tried again",
        "the last checkpoint of lenet is that of step 7",
    ]


async def test_import_that_was_stopped_goes_on_when_its_data_is_wanted(scene: Scene) -> None:
    dataset, job = scene.read(DATASET, JOB)
    await scene.put(dataset, phase="Pending", retryAfter="2099-01-01T00:00:00Z")
    await scene.run([job], lambda item: succeed(item) if item["kind"] == "TrainingJob" else None)

    (known,) = await scene.cluster.list("Dataset")
    assert "retryAfter" not in known["status"]


async def test_verdict_is_awaited_when_a_refused_spec_was_mended(scene: Scene) -> None:
    (wrong,), (mended,) = scene.read(JOB), scene.read(JOB.replace("lenet}, w", "mlp}, w"))
    await scene.put(wrong, phase="Invalid")

    def answer(item: Object) -> dict[str, Any]:
        return succeed(item) if item["spec"]["model"]["name"] == "mlp" else {"phase": "Invalid"}

    (outcome,) = await scene.run([mended], answer)
    assert outcome.end is End.SUCCEEDED


async def test_imported_data_goes_and_checkpoints_stay_when_all_begins_anew(scene: Scene) -> None:
    manifests = scene.read(DATASET, JOB)
    dataset = await scene.put(manifests[0], phase="Ready", claim="digits-data")
    await scene.put(manifests[1], phase="Succeeded")
    imported = scene.folder / f"volumes/default/digits-data/digits-{dataset['metadata']['uid'][:8]}"
    checkpoints = scene.folder / "volumes/default/lenet-checkpoints/x"
    for folder in (imported, checkpoints):
        folder.mkdir(parents=True)
    await asyncio.wait_for(scene.runner.clear(manifests), 10)

    assert not [*await scene.cluster.list("Dataset"), *await scene.cluster.list("TrainingJob")]
    assert (imported.exists(), checkpoints.exists()) == (False, True)


async def test_data_stays_when_another_unfinished_job_needs_it(scene: Scene) -> None:
    manifests = scene.read(DATASET, JOB)
    await scene.put(manifests[0], phase="Ready", claim="digits-data")
    (other,) = scene.read(JOB.replace("name: lenet}\nspec", "name: other}\nspec"))
    await scene.put(other, phase="Suspended", run={"hash": "x", "checkpoints": {"claim": "c"}})
    with pytest.raises(ManifestsError, match="digits, which other trains on"):
        await scene.runner.clear(manifests)

    assert await scene.cluster.list("Dataset")


async def test_error_of_the_cluster_ends_the_run(scene: Scene) -> None:
    async def fail() -> None:
        raise OSError("no space left on device")

    scene.session = LocalSession(RunsFolder(root=scene.folder), scene.cluster, [asyncio.create_task(fail())])
    scene.runner = Runner(scene.session, scene.screen, scene.stop, machine=MACHINE)
    with pytest.raises(OSError, match="no space left"):
        await scene.run(scene.read(JOB))
