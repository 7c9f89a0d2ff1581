"""What planning relies on, on every cluster that implements the port."""

import pytest
from conformance.port_objects import (
    delete,
    make_claim,
    make_job,
    make_pod,
    make_service,
    refer,
    version,
    wait_until_gone,
)
from conformance.subjects import UNKNOWN_FIELD, Subject

from oarlock_operator import names
from oarlock_operator.cluster.port import (
    AlreadyExistsError,
    ConflictError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from oarlock_operator.reconcile.plans import EventNote, Reference


async def test_object_has_a_uid_and_is_read_back_when_it_is_created(subject: Subject) -> None:
    created = await subject.cluster.create(make_job(subject))

    assert created["metadata"]["uid"]
    assert await subject.cluster.get(refer(created)) == created


async def test_status_is_ignored_when_it_comes_with_a_creation(subject: Subject) -> None:
    created = await subject.cluster.create({**make_job(subject), "status": {"phase": "Succeeded"}})

    assert not created.get("status")


async def test_second_creation_is_refused_by_name(subject: Subject) -> None:
    await subject.cluster.create(make_pod(subject))

    with pytest.raises(AlreadyExistsError):
        await subject.cluster.create(make_pod(subject))


async def test_creation_is_refused_for_good_when_the_manifest_is_invalid(subject: Subject) -> None:
    with pytest.raises(RefusedError) as refusal:
        await subject.cluster.create(make_pod(subject, "Not_A_Name"))

    assert refusal.value.status == 422


async def test_reading_says_so_when_there_is_nothing(subject: Subject) -> None:
    with pytest.raises(NotFoundError):
        await subject.cluster.get(Reference(kind="Pod", namespace=subject.namespace, name="nobody"))


async def test_object_stays_when_its_deletion_names_another_uid(subject: Subject) -> None:
    created = await subject.cluster.create(make_pod(subject))

    with pytest.raises(ConflictError):
        await subject.cluster.delete(refer(created), uid="00000000-0000-4000-8000-000000000000")

    assert await subject.cluster.get(refer(created))


async def test_deletion_succeeds_when_the_object_is_gone_already(subject: Subject) -> None:
    created = await subject.cluster.create(make_pod(subject))
    await delete(subject, created, grace_seconds=0)

    await delete(subject, created)

    await wait_until_gone(subject, refer(created))


async def test_pod_holds_its_name_when_it_is_terminating_on_a_node(subject: Subject) -> None:
    created = await subject.cluster.create(make_pod(subject, node="far-away"))
    await delete(subject, created)

    terminating = await subject.cluster.get(refer(created))
    assert terminating["metadata"]["deletionTimestamp"]
    with pytest.raises(AlreadyExistsError):
        await subject.cluster.create(make_pod(subject))

    await subject.end_pod(refer(created), created["metadata"]["uid"])
    again = await subject.cluster.create(make_pod(subject))
    assert again["metadata"]["uid"] != created["metadata"]["uid"]


async def test_terminating_pod_keeps_its_time_when_it_is_deleted_again(subject: Subject) -> None:
    created = await subject.cluster.create(make_pod(subject, node="far-away"))
    await delete(subject, created)
    before = await subject.cluster.get(refer(created))

    await delete(subject, created)

    assert (await subject.cluster.get(refer(created)))["metadata"]["deletionTimestamp"] == (
        before["metadata"]["deletionTimestamp"]
    )


async def test_pod_goes_at_once_when_it_gets_no_grace(subject: Subject) -> None:
    created = await subject.cluster.create(make_pod(subject, node="far-away"))

    await delete(subject, created, grace_seconds=0)

    with pytest.raises(NotFoundError):
        await subject.cluster.get(refer(created))


async def test_status_is_stored_whole_and_nothing_else_is_touched(subject: Subject) -> None:
    created = await subject.cluster.create(make_job(subject))
    status = {"phase": "Training", "attempt": 2, "restarts": {"NodeLost": 1}, "run": {"any": {"thing": [1, 2.5]}}}

    written = await subject.cluster.write_status(refer(created), resource_version=version(created), status=status)

    assert written["status"] == status
    assert written["spec"] == created["spec"]
    assert written["metadata"]["generation"] == created["metadata"]["generation"]
    assert version(written) != version(created)


async def test_status_is_replaced_when_it_is_written_again(subject: Subject) -> None:
    job = await subject.cluster.create(make_job(subject))
    for status in ({"phase": "Training", "reason": "Training"}, {"phase": "Succeeded"}):
        job = await subject.cluster.write_status(refer(job), resource_version=version(job), status=status)

    assert job["status"] == {"phase": "Succeeded"}


async def test_status_is_refused_when_the_object_changed_since(subject: Subject) -> None:
    created = await subject.cluster.create(make_job(subject))
    await subject.edit_spec(refer(created), lambda spec: spec.update(runPolicy={"backoffLimit": 7}))

    with pytest.raises(ConflictError):
        await subject.cluster.write_status(
            refer(created), resource_version=version(created), status={"phase": "Failed"}
        )

    assert not (await subject.cluster.get(refer(created))).get("status")


async def test_version_stays_when_a_write_changes_nothing(subject: Subject) -> None:
    job = await subject.cluster.create(make_job(subject))
    job = await subject.cluster.write_status(refer(job), resource_version=version(job), status={"phase": "Training"})

    again = await subject.cluster.write_status(refer(job), resource_version=version(job), status={"phase": "Training"})

    assert version(again) == version(job)


async def test_status_is_not_written_when_the_object_is_gone(subject: Subject) -> None:
    created = await subject.cluster.create(make_job(subject))
    await delete(subject, created)

    with pytest.raises(NotFoundError):
        await subject.cluster.write_status(refer(created), resource_version=version(created), status={})


async def test_status_of_a_new_object_is_refused_when_the_version_is_of_the_old_one(subject: Subject) -> None:
    old = await subject.cluster.create(make_job(subject))
    await delete(subject, old)
    await subject.cluster.create(make_job(subject))

    with pytest.raises(ConflictError):
        await subject.cluster.write_status(refer(old), resource_version=version(old), status={"phase": "Failed"})


async def test_answer_shows_what_was_dropped_when_the_schema_does_not_know_a_field(subject: Subject) -> None:
    created = await subject.cluster.create(make_job(subject))

    written = await subject.cluster.write_status(
        refer(created), resource_version=version(created), status={"phase": "Training", UNKNOWN_FIELD: 1}
    )

    assert written["status"] == {"phase": "Training"}


async def test_generation_rises_when_the_spec_is_edited(subject: Subject) -> None:
    created = await subject.cluster.create(make_job(subject))
    await subject.cluster.write_status(refer(created), resource_version=version(created), status={"phase": "Training"})

    await subject.edit_spec(refer(created), lambda spec: spec.update(runPolicy={"suspend": True}))

    edited = await subject.cluster.get(refer(created))
    assert edited["metadata"]["generation"] == created["metadata"]["generation"] + 1
    assert edited["status"] == {"phase": "Training"}


async def test_object_stays_until_its_last_finalizer_is_gone(subject: Subject) -> None:
    job = await subject.cluster.create(make_job(subject))
    held = await subject.cluster.write_finalizers(
        refer(job), resource_version=version(job), finalizers=[names.IN_USE_FINALIZER]
    )
    assert held["metadata"]["finalizers"] == [names.IN_USE_FINALIZER]

    await delete(subject, held)
    waiting = await subject.cluster.get(refer(job))
    assert waiting["metadata"]["deletionTimestamp"]
    with pytest.raises(AlreadyExistsError):
        await subject.cluster.create(make_job(subject))

    await subject.cluster.write_finalizers(refer(job), resource_version=version(waiting), finalizers=[])
    await wait_until_gone(subject, refer(job))


async def test_finalizers_are_refused_when_the_object_changed_since(subject: Subject) -> None:
    job = await subject.cluster.create(make_job(subject))
    await subject.edit_spec(refer(job), lambda spec: spec.update(runPolicy={"backoffLimit": 7}))

    with pytest.raises(ConflictError):
        await subject.cluster.write_finalizers(
            refer(job), resource_version=version(job), finalizers=[names.IN_USE_FINALIZER]
        )


async def test_children_go_with_their_owner_and_claims_stay(subject: Subject) -> None:
    job = await subject.cluster.create(make_job(subject))
    pod = await subject.cluster.create(make_pod(subject, node="far-away", owner=job))
    service = await subject.cluster.create(make_service(subject, owner=job))
    claim = await subject.cluster.create(make_claim(subject))

    await delete(subject, job)

    await wait_until_gone(subject, refer(service))
    assert (await subject.cluster.get(refer(pod)))["metadata"]["deletionTimestamp"]
    assert await subject.cluster.get(refer(claim))


async def test_child_goes_when_its_owner_has_the_name_but_not_the_uid(subject: Subject) -> None:
    old = await subject.cluster.create(make_job(subject))
    await delete(subject, old)
    await subject.cluster.create(make_job(subject))

    orphan = await subject.cluster.create(make_service(subject, owner=old))

    await wait_until_gone(subject, refer(orphan))


async def test_event_is_counted_when_the_same_is_said_again(subject: Subject) -> None:
    job = await subject.cluster.create(make_job(subject))
    uid = job["metadata"]["uid"]
    for note in (
        EventNote(reason="Training", message="a"),
        *[EventNote(reason="Failed", message="b", warning=True)] * 2,
    ):
        await subject.cluster.record_event(refer(job), uid=uid, note=note)

    assert sorted(await subject.read_events(refer(job))) == [("Failed", 2), ("Training", 1)]


async def test_recording_an_event_never_raises_when_nothing_is_there(subject: Subject) -> None:
    nobody = Reference(kind="TrainingJob", namespace=f"no-{subject.namespace}", name="nobody")

    await subject.cluster.record_event(nobody, uid="x", note=EventNote(reason="Failed", message=""))


async def test_agent_is_unavailable_when_the_pod_has_no_address(subject: Subject) -> None:
    pod = await subject.cluster.create(make_pod(subject))

    with pytest.raises(UnavailableError):
        await subject.cluster.fetch_worker_status(pod)
