"""An elastic job: it takes what there is room for, gives way, and grows again; whatever happens meanwhile."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from reconciling.elastic_world import NO_ROOM, ElasticWorld
from reconciling.job_states import SETTINGS
from reconciling.test_job_world import AnyHistory

from oarlock_api.v1alpha1.status import JobPhase

PLACEMENT, GROWTH = SETTINGS.elastic_placement_seconds, SETTINGS.elastic_growth_seconds


def train(*, nodes: int = 3, room: int = 4) -> ElasticWorld:
    """A job that trains on as many nodes as there is room for."""
    world = ElasticWorld(nodes=nodes, room=room)
    world.go_on()
    world.go_on(PLACEMENT)
    assert world.status.phase is JobPhase.TRAINING
    return world


def facts(world: ElasticWorld) -> tuple[int, int, dict[str, int]]:
    return world.size, len(world.workers()), world.status.restarts


def test_job_takes_the_nodes_that_it_wants_when_there_is_room() -> None:
    assert facts(train()) == (3, 3, {})


def test_job_starts_with_as_many_nodes_as_there_is_room_for() -> None:
    world = train(room=2)

    assert facts(world) == (2, 2, {"Resized": 1})
    assert world.status.counted_restarts == 0
    assert "attempt 1 on 2 nodes of 3 wanted" in world.status.message
    assert world.status.gang
    assert world.status.gang.why == f"there is room for 2 of 3 nodes: {NO_ROOM.rstrip('.')}"


def test_job_waits_for_the_scheduler_before_it_gives_a_node_up() -> None:
    world = ElasticWorld(nodes=3, room=2)
    world.go_on()

    plan = world.reconcile(world.observe())

    assert (world.status.attempt, world.status.reason) == (0, "Unschedulable")
    assert plan.wake_at == world.now + PLACEMENT


def test_job_waits_when_there_is_less_room_than_its_least_number_of_nodes() -> None:
    world = ElasticWorld(nodes=3, room=0)
    world.go_on()
    world.go_on(10 * PLACEMENT)

    assert (world.status.attempt, world.status.phase) == (0, JobPhase.STARTING)


def test_job_goes_on_with_fewer_nodes_when_one_is_lost_and_with_more_when_it_is_back() -> None:
    world = train()

    world.lost_nodes, world.checkpoint_step = frozenset({"node-2"}), 40
    world.room = 3
    world.go_on(1)
    world.end_lost()
    world.go_on(PLACEMENT)
    world.go_on(PLACEMENT)
    assert facts(world) == (2, 2, {"NodeLost": 1, "Resized": 1})

    world.lost_nodes = frozenset()
    world.go_on(GROWTH)
    world.go_on()
    assert facts(world) == (3, 3, {"NodeLost": 1, "Resized": 2})
    assert world.status.counted_restarts == 0


def test_job_looks_for_room_only_when_it_has_trained_for_a_while() -> None:
    world = train(room=2)
    world.room = 3

    world.go_on(GROWTH / 2)
    assert (world.size, world.scouts()) == (2, [])

    world.go_on(GROWTH / 2)
    assert world.size == 3


def test_job_does_not_grow_for_its_last_minutes() -> None:
    world = train(room=2)
    world.room, world.eta = 3, GROWTH / 2

    world.go_on(GROWTH)

    assert (world.size, world.scouts()) == (2, [])


def test_scouts_go_when_the_run_is_about_to_end() -> None:
    world = train(room=2)
    world.go_on(GROWTH)
    assert world.scouts()

    world.room, world.eta = 3, GROWTH / 2
    world.go_on()

    assert (world.size, world.scouts()) == (2, [])


def test_scouts_wait_for_room_and_training_goes_on_meanwhile() -> None:
    world = train(room=2)

    world.go_on(GROWTH)

    assert [scout.unschedulable for scout in world.scouts()] == [NO_ROOM]
    assert (world.status.phase, world.status.attempt) == (JobPhase.TRAINING, 1)
    assert "looking for room for 3 nodes" in world.status.message
    world.room = 3
    world.go_on(1)
    assert facts(world)[:2] == (3, 3)


def test_job_grows_to_what_there_is_room_for_when_it_is_not_all() -> None:
    world = train(nodes=1, room=2)
    world.scale(4)

    world.go_on()
    assert (world.size, len(world.scouts())) == (1, 3)

    world.go_on(PLACEMENT)
    assert facts(world) == (2, 2, {"Resized": 1})


def test_job_grows_at_once_when_it_is_asked_to() -> None:
    world = train(nodes=1)

    world.scale(3)
    world.go_on()

    assert facts(world) == (3, 3, {"Resized": 1})
    assert world.status.restart_count == 1


def test_job_shrinks_at_once_when_it_is_asked_to() -> None:
    world = train()

    world.scale(1)
    world.go_on()

    assert facts(world) == (1, 1, {"Resized": 1})


def test_scouts_go_when_no_more_nodes_are_wanted() -> None:
    world = train(room=2)
    world.go_on(GROWTH)
    assert world.scouts()

    world.scale(2)
    world.go_on()

    assert (world.scouts(), world.size, world.status.attempt) == ([], 2, 1)


def test_number_out_of_bounds_changes_nothing() -> None:
    world = train()

    world.scale(9)
    world.go_on(GROWTH)

    assert facts(world) == (3, 3, {})
    assert [entry.reason for entry in world.status.conditions if entry.type == "Valid"] == ["InvalidSpec"]


def test_job_begins_with_all_nodes_that_are_wanted_when_it_resumes() -> None:
    world = train(room=2)
    world.set_suspended(suspend=True)
    world.go_on()
    world.room = 4
    world.scale(4)
    world.go_on()
    assert world.status.reason == "Suspended"

    world.set_suspended(suspend=False)
    world.go_on()

    assert facts(world) == (4, 4, {"Resized": 1})


def test_run_stays_the_same_when_the_number_of_nodes_changes() -> None:
    world = train(room=2)
    run = world.status.run

    world.scale(1)
    world.go_on()

    assert world.status.run == run
    assert {pod.run_hash for pod in world.workers()} == {run["hash"] if run else ""}


POLICIES = st.fixed_dictionaries(
    {},
    optional={
        "ttlSecondsAfterFinished": st.sampled_from([0, 100]),
        "cleanPodPolicy": st.sampled_from(["All", "Running", "None"]),
        "successPolicy": st.sampled_from(["AllNodes", "FirstNode"]),
        "activeDeadlineSeconds": st.sampled_from([1000, 100_000]),
        "backoffLimit": st.integers(0, 3),
    },
)


class AnyElasticHistory(AnyHistory):
    """All that may happen to a job, and on top of it room that comes and goes, and users who scale and change their minds."""

    def __init__(self) -> None:
        super().__init__()
        self.world: ElasticWorld = ElasticWorld()

    @rule(room=st.integers(0, 4))
    def room_comes_and_goes(self, room: int) -> None:
        self.world.room = room

    @rule(nodes=st.integers(1, 5))
    def the_user_scales(self, nodes: int) -> None:
        self.world.scale(nodes)

    @rule(policy=POLICIES)
    def the_user_changes_the_policy(self, policy: dict[str, Any]) -> None:
        self.world.set_policy(policy)

    @precondition(lambda self: self.world.scouts())
    @rule(data=st.data())
    def a_scout_goes(self, data: st.DataObject) -> None:
        del self.world.pods[data.draw(st.sampled_from(sorted(scout.name for scout in self.world.scouts())))]

    def teardown(self) -> None:
        self.world.room = 4
        # Whoever wants running pods to stay has them stay.
        self.world.set_policy({**self.world.policy, "cleanPodPolicy": "Running"})
        super().teardown()


AnyElasticHistory.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestAnyElasticHistory = AnyElasticHistory.TestCase
