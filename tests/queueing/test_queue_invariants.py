"""What holds of the queue whatever the jobs and the nodes."""

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from queueing.queue_states import GPU, NOW, make_capacity, make_job, make_node, occupy

from oarlock_operator.queueing.admit import admit
from oarlock_operator.queueing.capacity import Capacity
from oarlock_operator.queueing.jobs import QueuedJob
from oarlock_operator.queueing.placement import Placement
from oarlock_operator.queueing.pool import Pool, build_pool
from oarlock_operator.queueing.verdicts import Stand, Verdict

GREEN = Placement(selector=(("color", "green"),))
nodes: st.SearchStrategy[list[tuple[int, bool]]] = st.lists(
    st.tuples(st.sampled_from([1, 2, 4, 8]), st.booleans()), min_size=1, max_size=5
)
waiting: st.SearchStrategy[list[dict[str, object]]] = st.lists(
    st.builds(
        dict,
        gpus=st.sampled_from([1, 2, 3, 4, 8]),
        pods=st.integers(1, 3),
        least=st.sampled_from([0, 0, 1]),
        priority=st.integers(0, 2),
        namespace=st.sampled_from("ab"),
        placement=st.sampled_from([Placement(), GREEN]),
        ends=st.sampled_from([None, NOW + 50, NOW + 500]),
    ),
    max_size=9,
)


def build(node_list: list[tuple[int, bool]], jobs: list[dict[str, object]]) -> tuple[Capacity, list[QueuedJob]]:
    built = [
        make_node(f"n{i}", gpus, labels={"color": "green"} if green else {})
        for i, (gpus, green) in enumerate(node_list)
    ]
    queued = [make_job(f"job{i}", age=100 - i, **{**fields, "ends": None}) for i, fields in enumerate(jobs)]  # type: ignore[arg-type]
    return make_capacity(*built, occupied=(occupy("n0", 1),)), queued


def run(jobs: list[QueuedJob], capacity: Capacity, ends: list[dict[str, object]]) -> list[QueuedJob]:
    """Admit some jobs first, bind their pods, and return everybody."""
    split = len(jobs) // 2
    verdicts = admit(jobs[:split], capacity, now=NOW)
    pool = build_pool(capacity)
    started = [settle(job, verdicts[job.uid]) for job in jobs[:split] if verdicts[job.uid].stand is Stand.ADMITTED]
    bound = []
    for job in sorted(started, key=lambda job: (-job.needs[0][1], job.uid)):
        placed = bind(job, capacity, pool)
        if placed:
            bound.append(replace(job, is_admitted=True, bound=placed, ends=ends[int(job.name[3:])]["ends"]))  # type: ignore[arg-type]
    known = {job.uid for job in bound}
    return [*bound, *(job for job in jobs if job.uid not in known)]


def settle(job: QueuedJob, verdict: Verdict) -> QueuedJob:
    """A job with as many pods as it was granted."""
    return replace(job, pods=len(verdict.nodes), least=0, is_admitted=True, planned=verdict.nodes)


def bind(job: QueuedJob, capacity: Capacity, pool: Pool) -> tuple[str, ...]:
    found: list[str] = []
    for node in capacity.nodes:
        is_allowed = job.placement == Placement() or node.labels
        while is_allowed and len(found) < job.pods and pool.slots(node.name, job.needs):
            pool.take(node.name, job.needs)
            found.append(node.name)
    return tuple(found) if len(found) == job.pods else ()


def admitted(verdicts: dict[str, Verdict]) -> set[str]:
    return {uid for uid, verdict in verdicts.items() if verdict.stand is Stand.ADMITTED}


def fits(jobs: list[QueuedJob], capacity: Capacity) -> bool:
    """Whether all these jobs find room at once, tried by brute force."""
    pods = [job for job in jobs for _ in range(job.pods - len(job.bound))]
    pool = build_pool(capacity)
    for job in jobs:
        for node in job.bound:
            pool.take(node, job.needs)

    def place(rest: list[QueuedJob]) -> bool:
        if not rest:
            return True
        seen = set()
        for node in capacity.nodes:
            shape = (pool.free[node.name][GPU], bool(node.labels))
            if (
                shape in seen
                or (rest[0].placement == GREEN and not node.labels)
                or not pool.slots(node.name, rest[0].needs)
            ):
                continue
            seen.add(shape)
            pool.take(node.name, rest[0].needs)
            if place(rest[1:]):
                return True
            pool.take(node.name, rest[0].needs, -1)
        return False

    return place(sorted(pods, key=lambda job: -job.needs[0][1]))


@given(nodes, waiting)
@settings(max_examples=50, deadline=None)
def test_whoever_is_in_fits_and_whoever_was_in_stays_unless_preempted_by_a_higher_one(
    node_list: list[tuple[int, bool]], fields: list[dict[str, object]]
) -> None:
    capacity, jobs = build(node_list, fields)
    jobs = run(jobs, capacity, fields)

    verdicts = admit(jobs, capacity, now=NOW)

    by_uid = {job.uid: job for job in jobs}
    assert set(verdicts) == set(by_uid)
    losers = {uid for uid, verdict in verdicts.items() if verdict.stand is Stand.PREEMPTED}
    # Who is preempted is there still: nobody may be let into its place yet.
    holders = [settle(by_uid[uid], verdicts[uid]) for uid in admitted(verdicts)]
    assert fits([*holders, *(by_uid[uid] for uid in losers)], capacity)
    for job in jobs:
        if job.is_admitted:
            assert job.uid in admitted(verdicts) | losers
    for uid in losers:
        winner = by_uid[verdicts[uid].preempted_by]
        assert winner.priority > by_uid[uid].priority
        assert verdicts[winner.uid].reason == "PlaceBeingFreed"


@given(nodes, waiting, st.randoms())
@settings(max_examples=50, deadline=None)
def test_verdicts_depend_on_nothing_but_what_is_given(
    node_list: list[tuple[int, bool]], fields: list[dict[str, object]], chance: random.Random
) -> None:
    capacity, jobs = build(node_list, fields)
    jobs = run(jobs, capacity, fields)
    mixed = replace(capacity, nodes=tuple(chance.sample(capacity.nodes, len(capacity.nodes))))

    again = admit(chance.sample(jobs, len(jobs)), mixed, now=NOW)

    # The order in which nodes and jobs are named says nothing.
    assert again == admit(jobs, capacity, now=NOW)


@given(nodes, waiting)
@settings(max_examples=50, deadline=None)
def test_nobody_waits_whom_the_absence_of_a_newcomer_of_lower_priority_would_let_in(
    node_list: list[tuple[int, bool]], fields: list[dict[str, object]]
) -> None:
    capacity, jobs = build(node_list, fields)

    verdicts = admit(jobs, capacity, now=NOW)

    for job in jobs:
        if verdicts[job.uid].stand is Stand.WAITING:
            higher = [other for other in jobs if other.priority >= job.priority]
            assert admit(higher, capacity, now=NOW)[job.uid].stand is Stand.WAITING


@given(nodes, waiting)
@settings(max_examples=50, deadline=None)
def test_head_starts_no_later_for_what_goes_ahead_of_it(
    node_list: list[tuple[int, bool]], fields: list[dict[str, object]]
) -> None:
    capacity, jobs = build(node_list, [{**each, "namespace": "a", "priority": 0} for each in fields])
    jobs = run(jobs, capacity, fields)
    verdicts = admit(jobs, capacity, now=NOW)
    heads = [job for job in jobs if verdicts[job.uid].position == 1 and verdicts[job.uid].expected_start]
    new = [job for job in jobs if job.uid in admitted(verdicts) and not job.is_admitted]

    for head in heads:
        settled = {job.uid: settle(job, verdicts[job.uid]) for job in new}
        before = [settled[job.uid] for job in new if job.created < head.created]
        old = [job for job in jobs if job.is_admitted]
        alone = admit([*old, *before, head], capacity, now=NOW)[head.uid]
        beside = admit([*old, *settled.values(), head], capacity, now=NOW)[head.uid]
        assert (beside.stand, beside.expected_start) == (alone.stand, alone.expected_start)


def test_large_job_gets_in_however_many_small_ones_keep_coming() -> None:
    capacity = make_capacity(make_node("n1"), make_node("n2"))
    running: dict[str, QueuedJob] = {}
    large = make_job("large", 8, pods=2, age=-20)
    for minute in range(200):
        now = NOW + 60 * minute
        running = {uid: job for uid, job in running.items() if (job.ends or 0) > now}
        small = [make_job(f"small{minute}-{number}", 1, age=-60 * minute) for number in range(9)]
        jobs = [*running.values(), *small, *([large] if minute else [])]
        verdicts = admit(jobs, capacity, now=now)
        if minute and verdicts[large.uid].stand is Stand.ADMITTED:
            return
        new = [job for job in small if verdicts[job.uid].stand is Stand.ADMITTED]
        ends = now + 600
        running |= {job.uid: replace(job, is_admitted=True, bound=verdicts[job.uid].nodes, ends=ends) for job in new}
    raise AssertionError("the large job starves")
