import urllib.error
import urllib.request
from asyncio import to_thread

import pytest
from controlled_world import World

from control_plane.ports import pick_free_ports
from oarlock_operator.cluster.port import UnavailableError
from oarlock_operator.probes import find_stall, find_unready, serve_probes


async def test_operator_is_ready_when_everything_is_listed(world: World) -> None:
    assert find_unready(world.controller) == ""


async def test_operator_is_not_ready_before_everything_is_listed() -> None:
    world = World()
    world.cluster.fail_next("watch", "Pod", *[UnavailableError("down")] * 3)
    await world.start()
    assert "not everything is listed" in find_unready(world.controller)

    await world.pass_time(60)
    assert find_unready(world.controller) == ""
    await world.kill()


async def test_operator_is_not_ready_when_a_watch_does_not_get_through(world: World) -> None:
    failing_since = world.controller.watching.failing_since

    failing_since["Pod"] = world.cluster.clock.monotonic() - 61
    assert "the watch of Pod has not got through for 61 s" in find_unready(world.controller)
    assert find_stall(world.controller) == ""
    failing_since["Pod"] -= 600
    assert "the watch of Pod" in find_stall(world.controller)


@pytest.mark.parametrize(("lag", "is_ready", "is_alive"), [(1, True, True), (6, False, True), (31, False, False)])
async def test_operator_is_restarted_when_its_event_loop_stands_still(
    world: World,
    lag: float,
    is_ready: bool,  # noqa: FBT001
    is_alive: bool,  # noqa: FBT001
) -> None:
    world.controller.lag = lag

    assert (not find_unready(world.controller), not find_stall(world.controller)) == (is_ready, is_alive)


async def test_probes_answer_over_http(world: World) -> None:
    (port,) = pick_free_ports(1)
    async with serve_probes(world.controller, port):
        assert await to_thread(ask, port, "/readyz") == (200, "ok")
        world.controller.lag = 10
        assert await to_thread(ask, port, "/readyz") == (503, "the event loop is late by 10.0 s")
        assert (await to_thread(ask, port, "/healthz"))[0] == 200


def ask(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
