"""Where the pods of several nodes meet when all of them are processes of one machine."""

import asyncio
import contextlib
import socket
from pathlib import Path

from local.local_scene import container_state, is_running, make_pod, open_scene

from oarlock.local.meeting import derive_port, list_ports
from oarlock_api.contract import RENDEZVOUS_ENDPOINT_ENV


async def test_second_pod_finds_the_first_when_they_meet(tmp_path: Path) -> None:
    endpoint = "r0-a0.job-1234:29400"
    env = [{"name": RENDEZVOUS_ENDPOINT_ENV, "value": endpoint}]
    async with open_scene(tmp_path) as scene:
        second = await scene.create(make_pod(f"echo ${RENDEZVOUS_ENDPOINT_ENV}", name="second", env=env))
        await asyncio.sleep(0.3)
        assert container_state(await scene.cluster.get(second)) == {"waiting": {"reason": "ContainerCreating"}}
        first = await scene.create(make_pod("sleep 1000", name="first", hostname="r0-a0", subdomain="job-1234"))
        host = await scene.wait(first, is_running)
        ended = await scene.wait(second, lambda pod: pod["status"]["phase"] == "Succeeded")

        assert scene.log(second).strip() == f"{host['status']['podIP']}:{derive_port(endpoint)}"
        assert ended["status"]["podIP"] != host["status"]["podIP"]


async def test_pod_says_so_when_the_port_of_its_meeting_is_taken(tmp_path: Path) -> None:
    endpoint = "r0-a0.gang-1:29400"
    env = [{"name": RENDEZVOUS_ENDPOINT_ENV, "value": endpoint}]
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):  # somebody else has it, which is as good
            taken.bind(("0.0.0.0", derive_port(endpoint)))
            taken.listen()
        async with open_scene(tmp_path) as scene:
            alone = await scene.run("true")
            host = await scene.run("true", name="host", env=env, hostname="r0-a0", subdomain="gang-1")

            assert alone["status"]["phase"] == "Succeeded"
            assert f"{derive_port(endpoint)} free: some program listens on all of them" in host["status"]["message"]


def test_gangs_meet_at_ports_of_their_own_when_they_share_a_machine() -> None:
    ports = {derive_port(f"r0-a{attempt}.gang-{job}:29400") for attempt in range(3) for job in range(10)}

    assert len(ports) > 25
    assert derive_port("127.0.0.1:29400") == 29400


def test_only_the_pod_at_which_the_others_meet_needs_the_port() -> None:
    env = [{"name": RENDEZVOUS_ENDPOINT_ENV, "value": "r0-a0.gang:29400"}]
    spec = {"containers": [{"env": env}], "subdomain": "gang"}

    assert list_ports({"spec": {**spec, "hostname": "r0-a0"}}) == (derive_port("r0-a0.gang:29400"),)
    assert list_ports({"spec": {**spec, "hostname": "r1-a0"}}) == ()
    assert list_ports({"spec": {"containers": [{}]}}) == ()
