from collections.abc import AsyncIterator
from typing import Any

import kopf
import pytest
from controlled_world import DATASET, JOB, World

from oarlock_operator import handlers
from oarlock_operator.cluster.port import Change
from oarlock_operator.reconcile.plans import Reference


class FedWorld(World):
    """kopf's watches are played by the test; all others are the operator's own."""

    watch_custom_resources = False

    async def bring(self, kind: str | None, reference: Reference) -> None:
        """Have kopf bring the object as it is now."""
        raw = {key: value for key, value in self.cluster.objects[reference].items() if key != "kind"}
        await handlers._build_handler(self.controller, reference.kind)({"type": kind, "object": raw})
        await self.settle()


@pytest.fixture
async def fed() -> AsyncIterator[FedWorld]:
    world = FedWorld()
    await world.add_node()
    await world.start()
    yield world
    await world.kill()


async def test_job_is_planned_when_kopf_brings_it(fed: FedWorld) -> None:
    await fed.apply_job()
    assert fed.status() == {}

    await fed.bring("ADDED", JOB)

    assert fed.status()["phase"] == "WaitingForData"


async def test_objects_are_known_from_the_start_when_kopf_has_brought_nothing_yet() -> None:
    world = FedWorld()
    await world.cluster.create(
        {"kind": "Dataset", "metadata": {"name": DATASET.name, "namespace": DATASET.namespace}, "spec": {}}
    )
    await world.start()

    assert world.status(DATASET)["phase"] == "Invalid"
    await world.kill()


async def test_object_is_forgotten_when_kopf_begins_anew_and_missed_its_deletion(fed: FedWorld) -> None:
    other = await fed.apply_job(name="other")
    await fed.apply_job()
    await fed.bring("ADDED", JOB)
    await fed.bring("ADDED", other)
    fed.cluster.remove(other)

    await fed.bring(None, JOB)
    await fed.pass_time(10)

    assert list(fed.controller.store.keys()) == [JOB]


async def test_old_state_is_ignored_when_kopf_brings_it_after_the_operators_own_write(fed: FedWorld) -> None:
    await fed.apply_job()
    old = await fed.cluster.get(JOB)
    await fed.bring("ADDED", JOB)
    written = fed.status()

    await handlers._build_handler(fed.controller, JOB.kind)({"type": "MODIFIED", "object": old})
    await fed.settle()

    assert (fed.controller.store.load(JOB) or {})["status"] == written
    assert fed.cluster.count("write_status", "TrainingJob") == 1


@pytest.mark.parametrize(
    ("kind", "change"), [(None, Change.MODIFIED), ("ADDED", Change.MODIFIED), ("DELETED", Change.DELETED)]
)
def test_event_is_translated(kind: str | None, change: Change) -> None:
    raw: Any = {"type": kind, "object": {"metadata": {"name": "a"}}}

    event = handlers.translate("Dataset", raw)

    assert (event.change, event.object) == (change, {"kind": "Dataset", "metadata": {"name": "a"}})


def test_kopf_gets_no_handler_that_writes(fed: FedWorld) -> None:
    registry = handlers.build_registry(fed.controller)

    assert len(registry._watching._handlers) == 2
    assert not registry._changing._handlers
    assert not registry._spawning._handlers


def test_kopf_never_gives_up_and_asks_for_no_rights_of_its_own() -> None:
    settings = handlers.build_settings()

    delays = [delay for delay, _ in zip(settings.networking.error_backoffs, range(1000), strict=False)]  # type: ignore[arg-type]
    assert max(delays) <= 15
    assert settings.scanning.disabled
    assert not settings.posting.enabled
    assert isinstance(settings, kopf.OperatorSettings)
