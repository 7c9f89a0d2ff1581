"""What planning relies on of lists and watches, on every cluster that implements the port."""

from typing import Any

from conformance.port_objects import OURS, Watch, delete, make_claim, make_job, make_pod, refer, version
from conformance.subjects import Subject

from oarlock_operator.cluster.port import Change, WatchEvent
from oarlock_operator.mirror import Mirror, Name


async def test_list_returns_what_matches_and_says_what_it_is(subject: Subject) -> None:
    for number in range(3):
        await subject.cluster.create(make_pod(subject, f"pod-{number}"))
    stranger = make_pod(subject, "stranger")
    stranger["metadata"]["labels"] = {}
    await subject.cluster.create(stranger)

    listed = await subject.cluster.list("Pod", namespace=subject.namespace, labels=OURS)

    assert sorted(each["metadata"]["name"] for each in listed) == ["pod-0", "pod-1", "pod-2"]
    assert {(each["kind"], each["apiVersion"]) for each in listed} == {("Pod", "v1")}
    assert not await subject.cluster.list("Pod", namespace=subject.others)


async def test_versions_are_listed_without_the_rest(subject: Subject) -> None:
    made = await subject.cluster.create(make_pod(subject, "pod-0"))

    (listed,) = await subject.cluster.list_versions("Pod", namespace=subject.namespace, labels=OURS)

    version = listed["metadata"].pop("resourceVersion")
    assert version
    assert listed == {"metadata": {key: made["metadata"][key] for key in ("namespace", "name", "uid")}}


async def test_watch_tells_what_is_there_and_then_what_changes_in_order(subject: Subject) -> None:
    first = await subject.cluster.create(make_job(subject, "first"))
    watch = Watch(subject.cluster.watch("TrainingJob", namespace=subject.namespace))
    listing = await watch.next()
    assert (listing.change, [refer(each) for each in listing.listed]) == (Change.RELISTED, [refer(first)])

    second = await subject.cluster.create(make_job(subject, "second"))
    await subject.cluster.write_status(refer(second), resource_version=version(second), status={"phase": "Training"})
    await delete(subject, first)

    events = [await watch.next() for _ in range(3)]
    assert [(event.change, event.object and event.object["metadata"]["name"]) for event in events] == [
        (Change.ADDED, "second"),
        (Change.MODIFIED, "second"),
        (Change.DELETED, "first"),
    ]
    assert [event.object and event.object["kind"] for event in events] == ["TrainingJob"] * 3


async def test_watch_tells_nothing_of_others_when_it_has_labels_and_a_namespace(subject: Subject) -> None:
    watch = Watch(subject.cluster.watch("PersistentVolumeClaim", namespace=subject.namespace, labels=OURS))
    await watch.next()
    foreign, unlabelled = make_claim(subject, "foreign"), make_claim(subject, "unlabelled")
    foreign["metadata"]["namespace"] = subject.others
    unlabelled["metadata"]["labels"] = {}
    for claim in (foreign, unlabelled, make_claim(subject, "ours")):
        await subject.cluster.create(claim)

    event = await watch.next()

    assert event.object
    assert event.object["metadata"]["name"] == "ours"


async def test_watch_misses_nothing_when_it_is_interrupted(subject: Subject) -> None:
    mirror: Mirror[str] = Mirror(lambda raw: str((raw.get("status") or {}).get("phase", "")))
    going = await subject.cluster.create(make_job(subject, "going"))
    staying = await subject.cluster.create(make_job(subject, "staying"))
    watch = Watch(subject.cluster.watch("TrainingJob", namespace=subject.namespace))
    _feed(mirror, await watch.next())

    await subject.interrupt_watches()
    await delete(subject, going)
    await subject.cluster.write_status(refer(staying), resource_version=version(staying), status={"phase": "Training"})
    await subject.cluster.create(make_job(subject, "coming"))

    expected = {"staying": "Training", "coming": ""}
    while {name.name: mirror.get(name) for name in mirror} != expected:
        _feed(mirror, await watch.next())


async def test_mirror_stays_with_own_writes_when_the_watch_is_late_and_repeats(subject: Subject) -> None:
    mirror: Mirror[int] = Mirror(lambda raw: int((raw.get("status") or {}).get("attempt", 0)))
    watch = Watch(subject.cluster.watch("TrainingJob", namespace=subject.namespace))
    _feed(mirror, await watch.next())
    job = await subject.cluster.create(make_job(subject))
    mirror.adopt(job)
    for attempt in range(1, 6):
        job = await subject.cluster.write_status(refer(job), resource_version=version(job), status={"attempt": attempt})
        mirror.adopt(job)

    name = Name(subject.namespace, "lenet")
    seen: list[str] = []
    while version(job) not in seen:
        event = await watch.next()
        for _ in range(2):
            _feed(mirror, event)
        assert mirror.get(name) == 5
        seen.extend(version(each) for each in (event.object,) if each)
    assert not mirror.doubts


def _feed(mirror: Mirror[Any], event: WatchEvent) -> None:
    if event.change is Change.RELISTED:
        mirror.offer_all(event.listed)
    elif event.object and event.change is Change.DELETED:
        mirror.offer_deletion(event.object)
    elif event.object:
        mirror.offer(event.object)
