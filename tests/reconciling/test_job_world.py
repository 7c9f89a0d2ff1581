"""Whatever happens to one job, in any order: pods fail, nodes go, caches lie, operators die, users suspend."""

import contextlib
from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from reconciling.job_world import JobWorld, OperatorKilledError

from oarlock_api.contract import Cause
from oarlock_api.v1alpha1.status import FINISHED_JOB_PHASES, MAX_STATUS_BYTES, JobPhase
from oarlock_operator.policy.bounds import wire_size

CAUSES = [cause.value for cause in Cause]


class AnyHistory(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = JobWorld()

    @initialize(
        survives=st.sampled_from([1, 2, 1000]),
        begins_with_weights=st.booleans(),
        is_training=st.booleans(),
        has_checkpoint=st.booleans(),
    )
    def a_job_is_applied(
        self, survives: int, *, begins_with_weights: bool, is_training: bool, has_checkpoint: bool
    ) -> None:
        if begins_with_weights:
            self.world.finish_earlier()
        with contextlib.suppress(OperatorKilledError):
            self.world.reconcile(self.world.observe(), survives=survives)
        if is_training:
            self.world.begin()
        if is_training and has_checkpoint:
            self.world.checkpoint_step = 40
            self.world.reconcile(self.world.observe())

    @rule(survives=st.sampled_from([1, 2, 3, 4, 1000, 1000]))
    def an_operator_looks(self, survives: int) -> None:
        with contextlib.suppress(OperatorKilledError):
            self.world.reconcile(self.world.observe(), survives=survives)

    @rule(data=st.data(), believes=st.sampled_from(["an old state", "old pods", "no pods"]))
    def an_operator_with_a_wrong_cache_looks(self, data: st.DataObject, believes: str) -> None:
        old = data.draw(st.sampled_from(list(self.world.seen)), label="old")
        fresh = self.world.observe()
        # Each kind has a watch of its own, so one may lag behind the other, or have listed nothing yet.
        believed = {
            "an old state": old,
            "old pods": replace(fresh, pods=old.pods, report=old.report),
            "no pods": replace(fresh, pods=(), report=None),
        }[believes]
        with contextlib.suppress(OperatorKilledError):
            self.world.reconcile(replace(believed, confirmed=False))

    @rule()
    def pods_start(self) -> None:
        self.world.run_pods()

    @rule()
    def deleted_pods_end(self) -> None:
        self.world.end_deleted()

    @precondition(lambda self: self.world.running())
    @rule(data=st.data(), cause=st.sampled_from(CAUSES))
    def a_pod_fails(self, data: st.DataObject, cause: str) -> None:
        self.world.fail_pod(data.draw(st.sampled_from(self.world.running())), cause)

    @precondition(lambda self: self.world.pods)
    @rule(data=st.data())
    def somebody_deletes_a_pod(self, data: st.DataObject) -> None:
        del self.world.pods[data.draw(st.sampled_from(sorted(self.world.pods)))]

    @rule(node=st.sampled_from(["node-0", "node-1"]))
    def a_node_is_lost(self, node: str) -> None:
        self.world.lost_nodes |= {node}

    @rule()
    def all_nodes_are_back(self) -> None:
        self.world.lost_nodes = frozenset()

    @precondition(lambda self: self.world.begins_with_weights)
    @rule(there=st.sampled_from([None, JobPhase.TRAINING, JobPhase.SUCCEEDED]))
    def the_earlier_job_comes_and_goes_with_its_claim(self, there: JobPhase | None) -> None:
        if there:
            self.world.finish_earlier(there)
        else:
            self.world.remove_earlier()

    @rule(suspend=st.booleans())
    def the_user_suspends_or_resumes(self, *, suspend: bool) -> None:
        self.world.set_suspended(suspend=suspend)

    @rule(seconds=st.sampled_from([1.0, 60.0, 700.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.now += seconds

    @precondition(lambda self: self.world.running())
    @rule(steps=st.integers(1, 50))
    def training_advances(self, steps: int) -> None:
        self.world.checkpoint_step += steps

    @precondition(lambda self: self.world.status.phase is JobPhase.TRAINING)
    @rule()
    def training_ends(self) -> None:
        self.world.succeed_pods()

    @invariant()
    def attempts_never_live_side_by_side(self) -> None:
        self.world.check()

    @invariant()
    def the_status_is_small(self) -> None:
        assert wire_size(self.world.status.to_wire()) <= MAX_STATUS_BYTES

    def teardown(self) -> None:
        rests_in = self.world.settle()
        assert rests_in in FINISHED_JOB_PHASES | {JobPhase.SUSPENDED}, f"stuck: {self.world.status.message}"
        if rests_in is JobPhase.SUSPENDED:
            assert self.world.suspend
            assert not self.world.pods, "a suspended job has pods"
            assert self.world.status.reason == "Suspended"
        assert not self.world.running(), "a job at rest has running pods"


AnyHistory.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestAnyHistory = AnyHistory.TestCase


def test_an_undisturbed_job_takes_few_writes() -> None:
    world = JobWorld(nodes=2)

    phase = world.settle()

    assert phase is JobPhase.SUCCEEDED
    assert world.version <= 6
    assert world.status.restart_count == 0


def test_pods_of_a_suspended_job_are_not_said_to_be_gone_when_their_nodes_are_back_and_a_cache_is_old() -> None:
    world = JobWorld(nodes=2)
    before_all = world.observe()
    world.begin()
    world.lost_nodes = frozenset({"node-0", "node-1"})
    world.reconcile(world.observe())
    world.set_suspended(suspend=True)
    with contextlib.suppress(OperatorKilledError):
        world.reconcile(world.observe(), survives=1)
    world.lost_nodes = frozenset()

    world.reconcile(replace(world.observe(), pods=before_all.pods, report=None))

    assert world.status.reason == "Suspending"
    assert world.settle() is JobPhase.SUSPENDED
    assert not world.pods
