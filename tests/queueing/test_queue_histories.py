"""Whole histories of the queue: jobs come, run, are preempted and go on, and all of them end."""

from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st
from queueing.queue_states import GPU, NOW, make_capacity, make_job, make_node, occupy

from oarlock_operator.queueing.admit import admit
from oarlock_operator.queueing.capacity import Occupied
from oarlock_operator.queueing.jobs import QueuedJob
from oarlock_operator.queueing.verdicts import Stand

NODES = tuple(make_node(f"n{number}", gpus) for number, gpus in enumerate((8, 8, 4)))
TICK = 60.0
ARRIVALS = st.lists(
    st.tuples(
        st.integers(0, 10),
        st.sampled_from([1, 2, 4, 8]),
        st.integers(1, 2),
        st.sampled_from([0, 0, 0, 1, 5]),
        st.integers(1, 6),
        st.booleans(),
    ),
    min_size=1,
    max_size=14,
)


@dataclass
class History:
    """What an operator, a scheduler and kubelets make of the verdicts."""

    arrivals: list[tuple[int, int, int, int, int, bool]]
    now: float = NOW
    waiting: dict[str, QueuedJob] = field(default_factory=dict)
    running: dict[str, QueuedJob] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)
    """Ticks that a job still needs."""
    ending: list[Occupied] = field(default_factory=list)

    def live(self, tick: int) -> None:
        for number, (arrives, gpus, pods, priority, ticks, _) in enumerate(self.arrivals):
            if arrives == tick:
                name = f"job{number}"
                job = make_job(name, gpus, pods=pods, priority=priority, namespace="ab"[number % 2])
                self.waiting[name], self.left[name] = replace(job, created=self.now, since=self.now), ticks
        self.decide()
        self.check()
        self.now += TICK
        for name in [*self.running]:
            self.left[name] -= 1
            if not self.left[name]:
                del self.running[name]

    def decide(self) -> None:
        running = [self.expect(job) for job in self.running.values()]
        capacity = make_capacity(*NODES, occupied=tuple(self.ending))
        verdicts = admit([*running, *self.waiting.values()], capacity, now=self.now)
        self.ending = []
        for name, verdict in verdicts.items():
            if verdict.stand is Stand.ADMITTED and name in self.waiting:
                self.running[name] = replace(self.waiting.pop(name), is_admitted=True, bound=verdict.nodes)
            elif verdict.stand is Stand.PREEMPTED:
                job = self.running.pop(name)
                gpus = job.needs[0][1]
                self.ending += [occupy(node, gpus, until=self.now + TICK) for node in job.bound]
                self.waiting[name] = replace(job, is_admitted=False, bound=(), since=self.now)

    def expect(self, job: QueuedJob) -> QueuedJob:
        knows = self.arrivals[int(job.name[3:])][5]
        return replace(job, ends=self.now + TICK * self.left[job.name] if knows else None)

    def check(self) -> None:
        used = {node.name: 0.0 for node in NODES}
        for job in self.running.values():
            assert len(job.bound) == job.pods
            for node in job.bound:
                used[node] += job.needs[0][1]
        for occupied in self.ending:
            used[occupied.node] += occupied.needs[0][1]
        assert all(used[node.name] <= node.allocatable[GPU] for node in NODES)


@given(ARRIVALS)
@settings(max_examples=40, deadline=None)
def test_no_gpu_is_given_twice_and_every_job_ends(arrivals: list[tuple[int, int, int, int, int, bool]]) -> None:
    history = History(arrivals)

    # Each job alone would take its own ticks; preemption costs one more for each job that comes.
    for tick in range(11 + sum(ticks + 2 for *_, ticks, _ in arrivals)):
        history.live(tick)

    assert history.waiting == {}
    assert history.running == {}
