"""What the pods of the cluster take is listed rarely, once for everybody, and not at all where it may not be."""

import asyncio
import itertools
from typing import Any

import pytest
from fake_cluster import FakeClock, settle

from oarlock_operator.cluster.port import ClusterError, RefusedError, UnavailableError
from oarlock_operator.cluster_pods import ClusterPods
from oarlock_operator.names import MANAGED_BY, MANAGED_BY_LABEL
from oarlock_operator.queueing.capacity import Occupied
from oarlock_operator.reconcile.observed import ObservedNode

GPU = "nvidia.com/gpu"
NODE = ObservedNode(name="a", is_ready=True, allocatable={"cpu": 8.0})
FOREIGN = (Occupied(node="a", needs=((GPU, 4.0),)),)


def pod(
    phase: str = "Running", *, node: str = "a", cpu: str = "2", gpus: int = 0, ours: bool = False
) -> dict[str, Any]:
    resources = {"requests": {"cpu": cpu}, "limits": {GPU: str(gpus)} if gpus else {}}
    labels = {MANAGED_BY_LABEL: MANAGED_BY} if ours else {}
    return {
        "metadata": {"labels": labels, "namespace": "team"},
        "spec": {"nodeName": node, "containers": [{"resources": resources}]},
        "status": {"phase": phase},
    }


class Pods:
    """A cluster that lists pods, or fails to, and that takes as long as somebody holds it."""

    def __init__(self, *pods: dict[str, Any], error: ClusterError | None = None) -> None:
        self.pods, self.asked, self.error = pods, 0, error
        self.answers = asyncio.Event()
        self.answers.set()

    async def list(self, _kind: str) -> list[dict[str, Any]]:
        self.asked += 1
        await self.answers.wait()
        if self.error:
            raise self.error
        return list(self.pods)


def read(pods: Pods, clock: FakeClock | None = None, *, namespace: str = "") -> ClusterPods:
    return ClusterPods(pods, clock or FakeClock(), namespace=namespace)  # type: ignore[arg-type]  # all that is asked of it


async def measure(reader: ClusterPods) -> Any:
    (room,) = await reader.measure_rooms([NODE])
    return room.free


async def test_pods_that_have_ended_or_no_node_take_nothing() -> None:
    pods = Pods(pod(), pod("Pending", cpu="500m"), pod("Succeeded"), pod(node=""), pod(node="b"))

    assert await measure(read(pods)) == {"cpu": 5.5}


@pytest.mark.parametrize(("namespace", "foreign"), [("", FOREIGN), ("team", FOREIGN), ("other", FOREIGN + FOREIGN)])
async def test_devices_of_pods_that_are_not_ours_are_foreign(namespace: str, foreign: tuple[Occupied, ...]) -> None:
    pods = Pods(pod(gpus=4), pod(gpus=4, ours=True), pod("Failed", gpus=4), pod(node="", gpus=4), pod())

    assert await read(pods, namespace=namespace).list_foreign(max_age=5) == foreign


async def test_messages_and_the_queue_share_one_reading_for_a_while() -> None:
    pods, clock = Pods(pod(gpus=4)), FakeClock()
    reader = read(pods, clock)
    for _ in range(5):
        await measure(reader)
        assert await reader.list_foreign(max_age=5) == FOREIGN
    assert pods.asked == 1

    await clock.advance(6)
    await measure(reader)
    assert pods.asked == 1, "figures that are only told may be older"
    await reader.list_foreign(max_age=5)
    assert pods.asked == 2


async def test_older_figures_are_told_while_pods_are_listed_anew() -> None:
    pods, clock = Pods(pod(cpu="2")), FakeClock()
    reader = read(pods, clock)
    before = await reader.measure_rooms([NODE])
    await clock.advance(60)
    pods.answers.clear()
    listing = asyncio.create_task(reader.list_foreign(max_age=5))
    await settle()

    assert await reader.measure_rooms([NODE]) == before

    assert not listing.done()
    pods.answers.set()
    await listing


async def test_whoever_asks_while_pods_are_listed_waits_for_that_list() -> None:
    pods = Pods(pod(gpus=4))
    reader = read(pods)
    pods.answers.clear()
    asking = [asyncio.create_task(reader.list_foreign(max_age=0.1)) for _ in range(3)]
    await settle()
    pods.answers.set()

    assert await asyncio.gather(*asking) == [FOREIGN] * 3
    assert pods.asked == 1


async def test_refusal_is_believed_for_half_a_minute_and_then_twice_as_long_each_time() -> None:
    pods, clock = Pods(pod(gpus=4), error=RefusedError("forbidden")), FakeClock()
    reader = read(pods, clock)
    asked_at: list[float] = []
    for _ in range(200):
        before = pods.asked
        assert await reader.list_foreign(max_age=5) == ()
        assert await measure(reader) is None
        asked_at += [clock.monotonic()] if pods.asked > before else []
        await clock.advance(10)

    waits = [later - earlier for earlier, later in itertools.pairwise(asked_at)]
    assert waits == [30, 60, 120, 240, 480, 600]


async def test_everything_is_seen_again_soon_when_a_server_refused_for_a_moment() -> None:
    pods, clock = Pods(pod(gpus=4), error=RefusedError("forbidden")), FakeClock()
    reader = read(pods, clock)
    await reader.list_foreign(max_age=5)
    pods.error = None
    await clock.advance(30)
    assert await reader.list_foreign(max_age=5) == FOREIGN

    pods.error = RefusedError("forbidden")
    await clock.advance(5)
    await reader.list_foreign(max_age=5)
    await clock.advance(30)
    await reader.list_foreign(max_age=5)
    assert pods.asked == 4, "what was refused long ago counts no more"


async def test_messages_do_without_for_a_while_when_the_cluster_is_away_and_the_queue_asks_again() -> None:
    pods, clock = Pods(error=UnavailableError("busy")), FakeClock()
    reader = read(pods, clock)
    assert [await measure(reader) for _ in range(5)] == [None] * 5
    assert pods.asked == 1

    for _ in range(2):
        with pytest.raises(UnavailableError):
            await reader.list_foreign(max_age=5)
    assert pods.asked == 3

    pods.error = None
    await clock.advance(20)
    assert await measure(reader) == {"cpu": 8.0}


async def test_many_pods_are_counted_like_few() -> None:
    many = Pods(*[pod(cpu="1m")] * 3000, pod(gpus=4))

    assert await read(many).list_foreign(max_age=5) == FOREIGN
