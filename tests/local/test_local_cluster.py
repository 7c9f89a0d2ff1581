"""The semantics of Kubernetes on which planning relies, on the local cluster."""

import asyncio
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local.local_scene import make_claim, make_pod

from oarlock.local.cluster import LocalCluster
from oarlock.local.machine import NODE_NAME, Machine
from oarlock.local.object_store import reference_to
from oarlock_operator.cluster.port import (
    AlreadyExistsError,
    Change,
    ConflictError,
    NotFoundError,
    RefusedError,
    UnavailableError,
    WatchEvent,
)
from oarlock_operator.reconcile.plans import EventNote, Reference

Object = dict[str, Any]
MACHINE = Machine(cpus=2, memory=2**32)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[LocalCluster]:
    cluster = LocalCluster(tmp_path, machine=MACHINE)
    yield cluster
    cluster.close()


def make_job(name: str = "lenet", **spec: Any) -> Object:
    whole = {"dataset": {"name": "digits"}, "model": {"name": "lenet"}, **spec}
    return {"apiVersion": "oarlock.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": name}, "spec": whole}


def owned_by(item: Object, manifest: Object) -> Object:
    owner = {
        "apiVersion": item["apiVersion"],
        "kind": item["kind"],
        "name": item["metadata"]["name"],
        "controller": True,
    }
    metadata = {**manifest["metadata"], "ownerReferences": [{**owner, "uid": item["metadata"]["uid"]}]}
    return {**manifest, "metadata": metadata}


def exists(cluster: LocalCluster, item: Object) -> bool:
    return any(found["metadata"]["uid"] == item["metadata"]["uid"] for found in cluster._store.peek())


async def delete(cluster: LocalCluster, item: Object, *, grace_seconds: int | None = None) -> None:
    await cluster.delete(reference_to(item), uid=item["metadata"]["uid"], grace_seconds=grace_seconds)


async def test_created_object_has_identity_and_defaults_when_it_is_read(cluster: LocalCluster) -> None:
    created = await cluster.create(make_job())
    read = await cluster.get(reference_to(created))

    assert read == created
    assert read["metadata"]["generation"] == 1
    assert {"uid", "resourceVersion", "creationTimestamp"} <= read["metadata"].keys()
    assert read["spec"]["workers"]["nodes"] == 1
    assert read["spec"]["runPolicy"]["backoffLimit"] == 3


async def test_creation_fails_when_the_name_is_taken(cluster: LocalCluster) -> None:
    await cluster.create(make_job())
    with pytest.raises(AlreadyExistsError):
        await cluster.create(make_job())


async def test_name_stays_taken_when_its_object_is_terminating(cluster: LocalCluster) -> None:
    pod = await cluster.create(make_pod("sleep 1"))
    await delete(cluster, pod)
    assert (await cluster.get(reference_to(pod)))["metadata"]["deletionTimestamp"]
    with pytest.raises(AlreadyExistsError):
        await cluster.create(make_pod("sleep 1"))


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (make_job(model=7), "spec.model"),
        (make_job(workers={"nodes": 0}), "spec.workers.nodes"),
        (make_job(recipe={"optimizer": {"learningRate": 0}}), "spec.recipe.optimizer.learningRate"),
        (make_job(recipe={"epochs": 1, "maxSteps": 1}), "spec.recipe"),
        (make_job(name="X" * 50), "metadata.name"),
        (make_job(name="../../etc"), "metadata.name"),
        ({**make_job(), "apiVersion": "oarlock.dev/v9"}, "apiVersion"),
        ({**make_pod("true"), "spec": {}}, "spec.containers"),
        ({**make_pod("true"), "kind": "Gadget"}, "kind"),
    ],
)
async def test_object_is_refused_by_path_when_the_schema_refuses_it(
    cluster: LocalCluster, manifest: Object, message: str
) -> None:
    with pytest.raises(RefusedError, match=message.replace(".", r"\.")):
        await cluster.create(manifest)
    assert not await cluster.list(manifest["kind"])


async def test_unknown_fields_are_pruned_when_an_object_is_stored(cluster: LocalCluster) -> None:
    created = await cluster.create(make_job(colour="red"))
    written = await cluster.write_status(
        reference_to(created),
        resource_version=created["metadata"]["resourceVersion"],
        status={"phase": "Training", "mood": "good", "run": {"anything": {"goes": 1}}, "phases": {"Training": 1.5}},
    )

    assert "colour" not in created["spec"]
    assert written["status"] == {"phase": "Training", "run": {"anything": {"goes": 1}}, "phases": {"Training": 1.5}}


async def test_status_write_conflicts_when_the_object_changed_since(cluster: LocalCluster) -> None:
    first = await cluster.create(make_job())
    reference, version = reference_to(first), first["metadata"]["resourceVersion"]
    second = await cluster.write_status(reference, resource_version=version, status={"phase": "Starting"})

    with pytest.raises(ConflictError):
        await cluster.write_status(reference, resource_version=version, status={"phase": "Failed"})
    assert await cluster.get(reference) == second
    assert second["metadata"]["generation"] == 1


async def test_status_write_fails_when_there_is_nothing_to_write_to(cluster: LocalCluster) -> None:
    nothing = Reference(kind="TrainingJob", namespace="default", name="nobody")
    with pytest.raises(NotFoundError):
        await cluster.write_status(nothing, resource_version="1", status={})
    with pytest.raises(NotFoundError):
        await cluster.get(nothing)


async def test_no_new_version_appears_when_a_write_changes_nothing(cluster: LocalCluster) -> None:
    job = await cluster.create(make_job())
    reference = reference_to(job)
    one = await cluster.write_status(
        reference, resource_version=job["metadata"]["resourceVersion"], status={"phase": "Starting"}
    )
    two = await cluster.write_status(
        reference, resource_version=one["metadata"]["resourceVersion"], status={"phase": "Starting"}
    )

    assert one == two


async def test_generation_rises_when_the_spec_changes_and_only_then(cluster: LocalCluster) -> None:
    await cluster.create(make_job())
    same = await cluster.apply(make_job())
    suspended = await cluster.apply(make_job(runPolicy={"suspend": True}))

    assert (same["metadata"]["generation"], suspended["metadata"]["generation"]) == (1, 2)
    assert suspended["spec"]["runPolicy"] == {**same["spec"]["runPolicy"], "suspend": True}


async def test_delete_conflicts_when_the_uid_is_another(cluster: LocalCluster) -> None:
    job = await cluster.create(make_job())
    with pytest.raises(ConflictError):
        await cluster.delete(reference_to(job), uid="another")
    await delete(cluster, job)
    await delete(cluster, job)  # gone already: no error


async def test_pod_goes_at_once_when_nothing_of_it_can_run(cluster: LocalCluster) -> None:
    pod = await cluster.create(make_pod("true"))
    await cluster.write_pod_status(pod, {"phase": "Succeeded"})
    await delete(cluster, pod)
    assert not exists(cluster, pod)


async def test_object_stays_when_a_finalizer_holds_it(cluster: LocalCluster) -> None:
    job = await cluster.create(make_job())
    held = await cluster.write_finalizers(
        reference_to(job), resource_version=job["metadata"]["resourceVersion"], finalizers=["oarlock.dev/in-use"]
    )
    await delete(cluster, job)
    terminating = await cluster.get(reference_to(job))
    assert terminating["metadata"]["deletionTimestamp"]
    assert int(terminating["metadata"]["resourceVersion"]) > int(held["metadata"]["resourceVersion"])
    await cluster.write_finalizers(
        reference_to(job), resource_version=terminating["metadata"]["resourceVersion"], finalizers=[]
    )

    assert not exists(cluster, job)


async def test_dependents_are_collected_when_their_owner_is_gone(cluster: LocalCluster) -> None:
    job = await cluster.create(make_job())
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {}}
    owned = await cluster.create(owned_by(job, service))
    running = await cluster.create(owned_by(job, make_pod("sleep 1")))
    kept = await cluster.create(make_claim("kept"))
    await delete(cluster, job)

    assert (exists(cluster, owned), exists(cluster, kept)) == (False, True)
    assert (await cluster.get(reference_to(running)))["metadata"]["deletionTimestamp"]


async def test_dependent_is_collected_when_its_owner_is_of_the_past(cluster: LocalCluster) -> None:
    old = await cluster.create(make_job())
    await delete(cluster, old)
    await cluster.create(make_job())
    late = await cluster.create(owned_by(old, make_claim("late")))

    assert not exists(cluster, late)


async def test_claim_waits_for_its_pods_when_it_is_deleted(cluster: LocalCluster, tmp_path: Path) -> None:
    claim = await cluster.create(make_claim("data"))
    folder = tmp_path / "volumes/default/data"
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]
    pod = await cluster.create(make_pod("sleep 1", volumes=volumes))
    assert (await cluster.get(reference_to(claim)))["status"]["phase"] == "Bound"
    await delete(cluster, claim)
    assert (exists(cluster, claim), folder.exists()) == (True, True)
    await delete(cluster, pod, grace_seconds=0)

    assert (exists(cluster, claim), folder.exists()) == (False, False)


async def test_pod_is_bound_to_the_machine_when_it_is_created(cluster: LocalCluster) -> None:
    pod = await cluster.create(make_pod("true"))
    bound = await cluster.get(reference_to(pod))

    assert bound["spec"]["nodeName"] == NODE_NAME
    node = await cluster.get(Reference(kind="Node", namespace="", name=NODE_NAME))
    assert node["status"]["conditions"][0]["status"] == "True"


async def take(cluster: LocalCluster, count: int, kind: str = "TrainingJob", **where: Any) -> list[WatchEvent]:
    """Return the first events of a watch."""
    events = []
    async for event in cluster.watch(kind, **where):
        events.append(event)
        if len(events) == count:
            break
    return events


async def test_watch_tells_what_is_there_and_then_each_change(cluster: LocalCluster) -> None:
    first = await cluster.create(make_job("first"))
    watching = asyncio.create_task(take(cluster, 4))
    await asyncio.sleep(0)
    second = await cluster.create(make_job("second"))
    await cluster.apply(make_job("second", runPolicy={"suspend": True}))
    await delete(cluster, first)

    listed, added, modified, deleted = await watching
    assert (listed.change, listed.listed) == (Change.RELISTED, (first,))
    assert (added.change, added.object) == (Change.ADDED, second)
    assert modified.change is Change.MODIFIED
    assert deleted.object
    assert (deleted.change, deleted.object["metadata"]["name"]) == (Change.DELETED, "first")
    assert int(deleted.object["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])


async def test_watch_sees_objects_enter_and_leave_when_labels_select(cluster: LocalCluster) -> None:
    watching = asyncio.create_task(take(cluster, 3, labels={"team": "a"}))
    await asyncio.sleep(0)
    manifest = make_job()
    await cluster.create({**manifest, "metadata": {"name": "lenet", "labels": {"team": "b"}}})
    await cluster.apply({**manifest, "metadata": {"name": "lenet", "labels": {"team": "a"}}})
    await cluster.apply({**manifest, "metadata": {"name": "lenet", "labels": {"team": "c"}}})

    assert [event.change for event in await watching] == [Change.RELISTED, Change.ADDED, Change.DELETED]


async def test_watch_lists_anew_when_it_fell_behind(tmp_path: Path) -> None:
    cluster = LocalCluster(tmp_path, machine=MACHINE, backlog=3)
    watching = cluster.watch("TrainingJob")
    assert (await anext(watching)).listed == ()
    for number in range(5):
        await cluster.create(make_job(f"job-{number}"))

    relisted = await anext(watching)
    assert (relisted.change, len(relisted.listed)) == (Change.RELISTED, 5)
    await cluster.create(make_job("job-5"))
    assert (await anext(watching)).change is Change.ADDED
    cluster.interrupt_watches()
    assert len((await anext(watching)).listed) == 6
    cluster.close()


async def test_events_are_counted_when_they_repeat_and_bounded(cluster: LocalCluster) -> None:
    job = await cluster.create(make_job())
    for number in range(210):
        note = EventNote(reason="Restarting", message=f"number {number // 2}")
        await cluster.record_event(reference_to(job), uid=job["metadata"]["uid"], note=note)
    events = await cluster.list("Event")

    assert {event["count"] for event in events} == {2}
    assert len(events) == 105


async def test_worker_status_is_unavailable_when_nobody_answers(cluster: LocalCluster) -> None:
    pod = await cluster.create(make_pod("true"))
    with pytest.raises(UnavailableError):
        await cluster.fetch_worker_status(pod)
    with pytest.raises(UnavailableError):
        await cluster.fetch_worker_status({**pod, "status": {"podIP": "127.127.127.127"}})


@dataclasses.dataclass
class Answer:
    head: bytes
    body: bytes
    usable: bool


@pytest.mark.parametrize(
    "answer",
    [
        Answer(b"HTTP/1.1 200 OK\r\n\r\n", b"{}", usable=True),
        Answer(b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\n\r\n", b"", usable=False),
        Answer(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 70_000, usable=False),
        Answer(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5_000, b"", usable=False),
        Answer(b"\x00\x01", b"", usable=False),
    ],
    ids=["plain", "redirect", "too long", "endless head", "garbage"],
)
async def test_answer_of_a_worker_is_used_only_when_it_is_sound(cluster: LocalCluster, answer: Answer) -> None:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer.head + answer.body)
        writer.close()

    server = await asyncio.start_server(respond, "127.99.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    container = {"ports": [{"name": "status", "containerPort": port}]}
    pod = {**await cluster.create(make_pod("true", container=container)), "status": {"podIP": "127.99.0.1"}}
    async with server:
        if answer.usable:
            assert await cluster.fetch_worker_status(pod) == answer.body
        else:
            with pytest.raises(UnavailableError):
                await cluster.fetch_worker_status(pod)
