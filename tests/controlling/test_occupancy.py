"""What is free on the nodes is read rarely, and not at all where it may not be."""

from typing import Any

import pytest
from fake_cluster import FakeClock

from oarlock_operator.cluster.port import ClusterError, RefusedError, UnavailableError
from oarlock_operator.occupancy import Occupancy
from oarlock_operator.reconcile.observed import ObservedNode

NODE = ObservedNode(name="a", is_ready=True, allocatable={"cpu": 8.0})


def pod(phase: str = "Running", *, node: str = "a", cpu: str = "2") -> dict[str, Any]:
    containers = [{"resources": {"requests": {"cpu": cpu}}}]
    return {"spec": {"nodeName": node, "containers": containers}, "status": {"phase": phase}}


class Pods:
    """A cluster that lists pods, or fails to."""

    def __init__(self, *, error: ClusterError | None = None) -> None:
        self.asked, self.error = 0, error

    async def list(self, _kind: str) -> list[dict[str, Any]]:
        self.asked += 1
        if self.error:
            raise self.error
        return [pod(), pod("Pending", cpu="500m"), pod("Succeeded"), pod(node=""), pod(node="b")]


async def test_pods_that_have_ended_or_no_node_take_nothing() -> None:
    (room,) = await Occupancy(Pods(), FakeClock()).measure([NODE])  # type: ignore[arg-type]  # all that is asked of it

    assert room.free == {"cpu": 5.5}


async def test_everybody_shares_one_reading_for_a_while() -> None:
    pods, clock = Pods(), FakeClock()
    occupancy = Occupancy(pods, clock)  # type: ignore[arg-type]  # all that is asked of it
    for _ in range(5):
        await occupancy.measure([NODE])
    assert pods.asked == 1

    await clock.advance(21)
    await occupancy.measure([NODE])
    assert pods.asked == 2


@pytest.mark.parametrize(("error", "asked"), [(RefusedError("forbidden"), 1), (UnavailableError("busy"), 2)])
async def test_nothing_is_said_to_be_free_where_pods_cannot_be_read(error: ClusterError, asked: int) -> None:
    pods, clock = Pods(error=error), FakeClock()
    occupancy = Occupancy(pods, clock)  # type: ignore[arg-type]  # all that is asked of it
    await occupancy.measure([NODE])
    await clock.advance(21)

    (room,) = await occupancy.measure([NODE])

    assert (room.free, pods.asked) == (None, asked)


async def test_refusal_is_not_believed_for_ever() -> None:
    pods, clock = Pods(error=RefusedError("forbidden")), FakeClock()
    occupancy = Occupancy(pods, clock)  # type: ignore[arg-type]  # all that is asked of it
    await occupancy.measure([NODE])
    pods.error = None
    await clock.advance(601)

    (room,) = await occupancy.measure([NODE])

    assert room.free == {"cpu": 5.5}
