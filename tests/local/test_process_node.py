"""Pods as processes: what the kubelet does with containers, the process node does with real small programs."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest
from local.local_scene import (
    Scene,
    container_state,
    find_processes_of,
    is_running,
    make_claim,
    make_pod,
    open_scene,
    wait_until,
    wait_until_nothing_is_left,
)

from oarlock.local.volumes import LOCAL_FOLDER_ANNOTATION
from oarlock_api.contract import DATA_DIR_ENV, TERMINATION_LOG_ENV
from oarlock_operator.cluster.port import UnavailableError


@pytest.mark.parametrize(
    ("script", "phase", "code", "reason"),
    [
        ("exit 0", "Succeeded", 0, "Completed"),
        ("exit 75", "Failed", 75, "Error"),
        ("kill -KILL $$$$", "Failed", 137, "Error"),
        ("kill -SEGV $$$$", "Failed", 139, "Error"),
    ],
)
async def test_pod_reports_its_end_when_its_command_ends(
    tmp_path: Path, script: str, phase: str, code: int, reason: str
) -> None:
    async with open_scene(tmp_path) as scene:
        pod = await scene.run(script)

        ended = container_state(pod)["terminated"]
        assert (pod["status"]["phase"], ended["exitCode"], ended["reason"]) == (phase, code, reason)
        assert ended["startedAt"] <= ended["finishedAt"]
        assert {c["type"]: c["status"] for c in pod["status"]["conditions"]} == {
            "PodScheduled": "True",
            "Initialized": "True",
            "ContainersReady": "False",
            "Ready": "False",
        }


async def test_pod_fails_to_start_when_its_program_is_not_there(tmp_path: Path) -> None:
    async with open_scene(tmp_path) as scene:
        pod = await scene.run("no-such-program", "--flag")

        ended = container_state(pod)["terminated"]
        assert (ended["exitCode"], ended["reason"]) == (128, "StartError")
        assert "cannot start no-such-program: No such file or directory" in ended["message"]


async def test_variables_are_resolved_when_they_refer_to_the_pod_and_to_each_other(tmp_path: Path) -> None:
    env = [
        {"name": "A", "value": "one"},
        {"name": "B", "value": "$(A)-two $$(A) $(NONE) $$"},
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['oarlock.dev/rank']"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "CPUS", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
    ]
    container = {"args": ["$(A)"], "resources": {"limits": {"cpu": "1500m"}}}
    metadata = {"labels": {"oarlock.dev/rank": "3"}}
    async with open_scene(tmp_path) as scene:
        reference = await scene.create(
            make_pod('echo "$0|$B|$NAME|$LABEL|$IP|$CPUS"', env=env, container=container, metadata=metadata)
        )
        pod = await scene.wait(reference, lambda pod: pod["status"]["phase"] == "Succeeded")

        address = pod["status"]["podIP"]
        assert scene.log(reference).strip() == f"one|one-two $(A) $(NONE) $|pod|3|{address}|2"
        assert address.startswith("127.")


async def test_claim_and_scratch_are_folders_when_the_pod_writes_through_its_variables(tmp_path: Path) -> None:
    env = [
        {"name": DATA_DIR_ENV, "value": "/oarlock/data/fashion"},
        {"name": "TMPDIR", "value": "/oarlock/scratch/tmp"},
        {"name": TERMINATION_LOG_ENV, "value": "/dev/termination-log"},
    ]
    volumes = [
        {"name": "data", "persistentVolumeClaim": {"claimName": "digits"}},
        {"name": "scratch", "emptyDir": {}},
    ]
    mounts = [{"name": "data", "mountPath": "/oarlock/data"}, {"name": "scratch", "mountPath": "/oarlock/scratch"}]
    script = f"mkdir -p $TMPDIR ${DATA_DIR_ENV} && echo $TMPDIR && echo hi >${DATA_DIR_ENV}/x && echo -n bye >${TERMINATION_LOG_ENV}"
    async with open_scene(tmp_path) as scene:
        reference = await scene.create(make_pod(script, env=env, volumes=volumes, container={"volumeMounts": mounts}))
        await asyncio.sleep(0.3)
        assert container_state(await scene.cluster.get(reference)) == {"waiting": {"reason": "ContainerCreating"}}
        await scene.create(make_claim("digits"))
        pod = await scene.wait(reference, lambda pod: pod["status"]["phase"] == "Succeeded")

        assert container_state(pod)["terminated"]["message"] == "bye"
        assert (tmp_path / "volumes/default/digits/fashion/x").read_text() == "hi\n"
        assert scene.log(reference).startswith(f"{tmp_path}/pods/pod-{pod['metadata']['uid'][:8]}/scratch/tmp")
        await scene.delete(reference)
        await scene.wait_until_gone(reference)
        await wait_until(lambda: not list(tmp_path.glob("pods/*")))


async def test_users_folder_is_used_where_it_lies_when_a_claim_names_it(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / "cat.txt").write_text("meow")
    claim = make_claim("raw", annotations={LOCAL_FOLDER_ANNOTATION: str(images)})
    volumes = [{"name": "source", "persistentVolumeClaim": {"claimName": "raw", "readOnly": True}}]
    container = {"volumeMounts": [{"name": "source", "mountPath": "/oarlock/source", "readOnly": True}]}
    env = [{"name": "OARLOCK_SOURCE_DIR", "value": "/oarlock/source"}]
    async with open_scene(tmp_path / "runs") as scene:
        source = await scene.create(claim)
        reference = await scene.create(
            make_pod("cat $OARLOCK_SOURCE_DIR/cat.txt", env=env, volumes=volumes, container=container)
        )
        await scene.wait(reference, lambda pod: pod["status"]["phase"] == "Succeeded")
        await scene.delete(source)
        await scene.wait_until_gone(source)

        assert scene.log(reference) == "meow"
        assert (images / "cat.txt").exists()


async def test_pod_gets_time_to_finish_when_it_is_deleted(tmp_path: Path) -> None:
    script = "trap 'echo -n saved >$OARLOCK_TERMINATION_LOG; exit 75' TERM; touch ready; while :; do sleep 0.05; done"
    env = [{"name": TERMINATION_LOG_ENV, "value": "/dev/termination-log"}]
    async with open_scene(tmp_path) as scene:
        seen = asyncio.create_task(_collect_ends(scene))
        reference = await scene.create(make_pod(script, env=env))
        pod = await scene.wait(reference, lambda pod: is_running(pod) and bool(list(tmp_path.glob("pods/*/ready"))))
        await scene.delete(reference)
        assert (await scene.cluster.get(reference))["metadata"]["deletionGracePeriodSeconds"] == 30
        await scene.wait_until_gone(reference)

        ended = await asyncio.wait_for(seen, 5)
        assert (ended["exitCode"], ended["message"]) == (75, "saved")
        assert not find_processes_of(pod["metadata"]["uid"])


async def _collect_ends(scene: Scene) -> dict[str, object]:
    """Return how the first pod ended that does, as a watcher sees it."""
    async for event in scene.cluster.watch("Pod"):
        states = ((event.object or {}).get("status", {}).get("containerStatuses") or [{}])[0].get("state", {})
        if "terminated" in states:
            return dict(states["terminated"])
    raise AssertionError("watches have no end")


async def test_whole_tree_is_killed_when_the_grace_period_ends(tmp_path: Path) -> None:
    script = (
        "trap '' TERM; setsid sleep 1000 & (sleep 1000 & exec sleep 1000) & touch ready; while :; do sleep 0.1; done"
    )
    async with open_scene(tmp_path) as scene:
        reference = await scene.create(make_pod(script, grace=1))
        pod = await scene.wait(reference, lambda pod: is_running(pod) and bool(list(tmp_path.glob("pods/*/ready"))))
        assert len(find_processes_of(pod["metadata"]["uid"])) >= 4
        await scene.delete(reference)
        await scene.wait_until_gone(reference)

        assert not find_processes_of(pod["metadata"]["uid"])


async def test_pod_goes_at_once_when_a_second_deletion_is_impatient(tmp_path: Path) -> None:
    async with open_scene(tmp_path) as scene:
        reference = await scene.create(make_pod("trap '' TERM; while :; do sleep 0.1; done", grace=1000))
        pod = await scene.wait(reference, is_running)
        await scene.delete(reference)
        await scene.delete(reference, grace_seconds=0)
        await scene.wait_until_gone(reference)

        await wait_until_nothing_is_left(pod["metadata"]["uid"])


async def test_nothing_of_a_pod_is_left_when_its_command_leaves_daemons(tmp_path: Path) -> None:
    async with open_scene(tmp_path) as scene:
        pod = await scene.run("setsid sleep 1000 & sleep 1000 & exit 0")

        assert not find_processes_of(pod["metadata"]["uid"])


async def test_pod_fails_and_leaves_nothing_when_its_keeper_is_killed(tmp_path: Path) -> None:
    async with open_scene(tmp_path) as scene:
        reference = await scene.create(make_pod("setsid sleep 1000 & sleep 1000"))
        pod = await scene.wait(reference, is_running)
        pid = int(pod["status"]["containerStatuses"][0]["containerID"].removeprefix("process://"))
        psutil.Process(pid).parent().kill()  # type: ignore[union-attr]  # the keeper
        ended = await scene.wait(reference, lambda pod: pod["status"]["phase"] == "Failed")

        assert container_state(ended)["terminated"]["exitCode"] == 137
        assert not find_processes_of(pod["metadata"]["uid"])


async def test_pod_fails_when_its_keeper_is_killed_before_the_command_starts(tmp_path: Path) -> None:
    async with open_scene(tmp_path) as scene:
        log = tmp_path / "logs/default/pod.log"
        log.parent.mkdir(parents=True)
        os.mkfifo(log)  # the command waits for a reader of what it prints
        reference = await scene.create(make_pod("exit 0"))
        uid = (await scene.cluster.get(reference))["metadata"]["uid"]
        await wait_until(lambda: len(find_processes_of(uid)) == 2)  # keeper and command
        keeper = min(find_processes_of(uid), key=lambda process: process.create_time())
        keeper.kill()
        ended = await scene.wait(reference, lambda pod: pod["status"]["phase"] == "Failed")

        assert container_state(ended)["terminated"]["exitCode"] == 137
        assert not find_processes_of(uid)


async def test_all_pods_end_when_the_disk_is_full(tmp_path: Path) -> None:
    ended = False
    with contextlib.suppress(UnavailableError):  # the node fails, sooner or later than the test
        async with open_scene(tmp_path) as scene:
            other = await scene.create(make_pod("sleep 1000", name="other"))
            uid = (await scene.wait(other, is_running))["metadata"]["uid"]
            await scene.wait(await scene.create(make_pod("sleep 0.3")), is_running)
            (tmp_path / ".cluster/objects/Pod/default/.pod.json.partial").symlink_to("/dev/full")
            await wait_until(lambda: scene.cluster.failure is not None and not find_processes_of(uid))
            ended = True
    assert ended


_OWNER = textwrap.dedent("""
    import asyncio, sys
    from pathlib import Path
    from local.local_scene import is_running, make_pod, open_scene

    async def main():
        async with open_scene(Path(sys.argv[1])) as scene:
            reference = await scene.create(make_pod(sys.argv[2]))
            pod = await scene.wait(reference, lambda pod: is_running(pod) and list(scene.folder.glob("pods/*/ready")))
            print(pod["metadata"]["uid"], flush=True)
            await asyncio.sleep(1000)

    asyncio.run(main())
""")


def start_owner(folder: Path, script: str) -> tuple[subprocess.Popen[str], str]:
    """Start a local cluster in a process of its own, with one pod that runs `script`; return it and the pod's UID."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER, str(folder), script], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout
    return owner, owner.stdout.readline().strip()


async def test_nothing_survives_and_the_pod_is_lost_when_the_owner_is_killed(tmp_path: Path) -> None:
    owner, uid = start_owner(tmp_path, "setsid sleep 1000 & (trap '' TERM HUP; sleep 1000) & touch ready; sleep 1000")
    assert len(find_processes_of(uid)) >= 4
    owner.kill()
    owner.wait()
    await wait_until_nothing_is_left(uid)

    async with open_scene(tmp_path) as scene:
        (pod,) = await scene.cluster.list("Pod")
        lost = await scene.wait(_reference(pod), lambda pod: pod["status"]["phase"] == "Failed")
        assert (lost["metadata"]["uid"], lost["status"]["reason"]) == (uid, "NodeLost")


async def test_nothing_survives_when_owner_and_keeper_are_killed_together(tmp_path: Path) -> None:
    owner, uid = start_owner(tmp_path, "setsid sleep 1000 & touch ready; sleep 1000")
    keeper = next(
        process for process in psutil.Process(owner.pid).children() if "keeper.py" in " ".join(process.cmdline())
    )
    owner.send_signal(signal.SIGSTOP)
    keeper.kill()
    owner.kill()
    owner.wait()

    async with open_scene(tmp_path) as scene:
        (pod,) = await scene.cluster.list("Pod")
        await scene.wait(_reference(pod), lambda pod: pod["status"].get("reason") == "NodeLost")
        assert not find_processes_of(uid)


async def test_end_is_reported_truthfully_when_the_pod_ended_while_nobody_watched(tmp_path: Path) -> None:
    owner, uid = start_owner(tmp_path, "touch ready; sleep 0.3; exit 75")
    owner.send_signal(signal.SIGSTOP)
    await wait_until_nothing_is_left(uid)
    owner.kill()
    owner.wait()

    async with open_scene(tmp_path) as scene:
        (pod,) = await scene.cluster.list("Pod")
        ended = await scene.wait(_reference(pod), lambda pod: pod["status"]["phase"] == "Failed")
        assert container_state(ended)["terminated"]["exitCode"] == 75


def _reference(pod: dict[str, object]) -> object:
    from oarlock.local.object_store import reference_to

    return reference_to(pod)


async def test_gpus_are_given_to_one_pod_at_a_time_when_pods_ask_for_them(tmp_path: Path) -> None:
    container = {"resources": {"limits": {"nvidia.com/gpu": 2}}}
    async with open_scene(tmp_path, gpus=("0", "1", "2")) as scene:
        first = await scene.create(
            make_pod("echo $CUDA_VISIBLE_DEVICES; sleep 1000", name="first", container=container)
        )
        await scene.wait(first, is_running)
        second = await scene.create(make_pod("echo $CUDA_VISIBLE_DEVICES", name="second", container=container))
        waiting = await scene.cluster.get(second)
        assert waiting["status"]["conditions"][0]["reason"] == "Unschedulable"
        assert "1 Insufficient nvidia.com/gpu (2 wanted, 1 free" in waiting["status"]["conditions"][0]["message"]
        await scene.delete(first, grace_seconds=0)
        await scene.wait(second, lambda pod: pod["status"]["phase"] == "Succeeded")

        assert scene.log(second).strip() == "0,1"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"restartPolicy": "Always"}, "restartPolicy Never"),
        ({"initContainers": [{"name": "i"}]}, "no init containers"),
        ({"volumes": [{"name": "v", "secret": {}}], "container": {"volumeMounts": [{"name": "v", "mountPath": "/s"}]}}, "volume v is a secret"),
    ],
    ids=["restarts", "init containers", "secret"],
)  # fmt: skip
async def test_pod_is_refused_with_the_reason_when_it_needs_a_container_runtime(
    tmp_path: Path, spec: dict[str, object], message: str
) -> None:
    async with open_scene(tmp_path) as scene:
        pod = await scene.run("true", **spec)

        assert pod["status"]["reason"] == "UnsupportedPod"
        assert message in pod["status"]["message"]


async def test_config_map_is_a_folder_of_files_once_it_is_there(tmp_path: Path) -> None:
    async with open_scene(tmp_path) as scene:
        volumes = [{"name": "code", "configMap": {"name": "c"}}]
        mounts = [{"name": "code", "mountPath": "/oarlock/code", "readOnly": True}]
        environment = [{"name": "OARLOCK_CODE_DIR", "value": "/oarlock/code"}]
        pod = make_pod(
            "cat $OARLOCK_CODE_DIR/a.txt", volumes=volumes, container={"volumeMounts": mounts, "env": environment}
        )
        reference = await scene.create(pod)
        await scene.create(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "c", "namespace": "default"},
                "data": {"a.txt": "hello"},
            }
        )
        await scene.wait(reference, lambda pod: pod["status"]["phase"] == "Succeeded")

        assert scene.log(reference) == "hello"


async def test_python_is_this_interpreter_when_a_pod_asks_for_python(tmp_path: Path) -> None:
    async with open_scene(tmp_path) as scene:
        reference = await scene.create(
            make_pod(
                "python", "-c", "import sys, os, json; print(json.dumps([sys.executable, os.environ.get('RANK')]))"
            )
        )
        await scene.wait(reference, lambda pod: pod["status"]["phase"] == "Succeeded")

        assert json.loads(scene.log(reference)) == [sys.executable, None]


async def test_pod_writes_to_its_volumes_alone_when_its_root_is_read_only(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / "cat.txt").write_text("meow")
    volumes = [
        {"name": "source", "persistentVolumeClaim": {"claimName": "raw"}},
        {"name": "data", "persistentVolumeClaim": {"claimName": "digits"}},
        {"name": "scratch", "emptyDir": {}},
    ]
    mounts = [
        {"name": "source", "mountPath": "/oarlock/source", "readOnly": True},
        {"name": "data", "mountPath": "/oarlock/data"},
        {"name": "scratch", "mountPath": "/oarlock/scratch"},
    ]
    env = [{"name": name, "value": f"/oarlock/{name.lower()}"} for name in ("SOURCE", "DATA", "SCRATCH")]
    script = f"""
        cat $SOURCE/cat.txt; echo >/dev/null
        for place in $SOURCE/cat.txt $SOURCE/new {tmp_path}/outside; do (echo x >$place) 2>/dev/null || echo "kept out"; done
        rm $SOURCE/cat.txt 2>/dev/null || echo "kept out"
        echo y >$SCRATCH/new && mkdir $DATA/sub && mv $SCRATCH/new $DATA/sub/moved && cat $DATA/sub/moved
    """
    security = {"readOnlyRootFilesystem": True}
    async with open_scene(tmp_path / "runs") as scene:
        await scene.create(make_claim("raw", annotations={LOCAL_FOLDER_ANNOTATION: str(images)}))
        await scene.create(make_claim("digits"))
        reference = await scene.create(
            make_pod(script, env=env, volumes=volumes, container={"volumeMounts": mounts, "securityContext": security})
        )
        await scene.wait(reference, lambda pod: pod["status"]["phase"] == "Succeeded")

        assert scene.log(reference) == "meow" + "kept out\n" * 4 + "y\n"
    assert (images / "cat.txt").read_text() == "meow"
    assert not (tmp_path / "outside").exists()
