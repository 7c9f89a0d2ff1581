"""The life of one pod on a process node: prepare its folders and variables, run its command, stop it when asked, report.

One task per pod, straight from top to bottom. It knows neither where pods come from nor who wants their status.
"""

import asyncio
import json
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oarlock.local.addresses import AddressPool
from oarlock.local.devices import VISIBLE_DEVICES_ENV, DevicePool
from oarlock.local.environment import (
    UnresolvableError,
    resolve_command,
    resolve_environment,
    split_endpoint,
    translate_path,
    translate_paths,
)
from oarlock.local.full_disks import is_full
from oarlock.local.meeting import derive_port, is_named, list_ports
from oarlock.local.mounts import UnsupportedVolumeError, list_writable, prepare_mounts
from oarlock.local.node_port import NodePort, Pod
from oarlock.local.pod_status import (
    build_ended_status,
    build_refused_status,
    build_running_status,
    build_waiting_status,
)
from oarlock.local.process import (
    LostProcessError,
    PodProcess,
    ProcessEnd,
    ProcessPlan,
    end_file,
    kill_stragglers,
    read_end,
)
from oarlock.local.termination import read_termination_message
from oarlock_api.contract import RENDEZVOUS_ENDPOINT_ENV

NODE_LOST_REASON = "NodeLost"
UNSUPPORTED_REASON = "UnsupportedPod"

_RETRY_SECONDS = 0.2
_KILLED_EXIT_CODE = 137


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeTools:
    """What all pods of a node share."""

    port: NodePort
    folder: Path
    """Holds one folder per pod, gone with it."""
    logs: Path
    """Holds what the pods print, kept."""
    status_port: int
    addresses: AddressPool
    devices: DevicePool
    environment: Mapping[str, str]
    """Variables that every pod inherits, as from an image."""
    clock: Callable[[], float]


class _RefusedPodError(Exception):
    """This node cannot run the pod, now or later."""


class _StoppedError(Exception):
    """The pod was deleted before its command started."""


class PodRunner:
    """Runs one pod."""

    def __init__(self, pod: Pod, tools: NodeTools) -> None:
        self._pod, self._tools = pod, tools
        metadata = pod["metadata"]
        self._uid: str = metadata["uid"]
        self._folder = tools.folder / pod_folder_name(pod)
        self._address = ""
        self._stop = asyncio.Event()
        self._kill_at = float("inf")
        self.observe(pod)

    def observe(self, pod: Pod) -> None:
        """Take note of a newer version of the pod: it may have been asked to go, or to go faster."""
        self._pod = pod
        metadata = pod["metadata"]
        if metadata.get("deletionTimestamp"):
            grace = metadata.get("deletionGracePeriodSeconds") or 0
            self._kill_at = min(self._kill_at, self._tools.clock() + grace)
            self._stop.set()

    def vanish(self) -> None:
        """Take note that the pod was removed without waiting for this node: kill what runs."""
        self._kill_at = 0
        self._stop.set()

    async def run(self) -> None:
        """Run the pod to its end, report it, and wait until it is deleted."""
        try:
            if self._pod.get("status", {}).get("phase") not in ("Succeeded", "Failed"):
                await self._write_status(await self._live())
                await self._remove_folder()  # as the kubelet removes the volumes of a pod that has ended
        except _StoppedError:
            pass
        finally:
            self._tools.addresses.give_back(self._address)
            self._tools.devices.give_back(self._uid)
        await self._stop.wait()
        await self._remove_folder()
        await self._tools.port.finish_deletion(self._pod)

    async def _remove_folder(self) -> None:
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def _live(self) -> dict[str, Any]:
        """Return the pod's last status."""
        try:
            if self._has_started_before():
                return await self._recover()
            return await self._run_command()
        except (_RefusedPodError, UnresolvableError, UnsupportedVolumeError, OSError) as error:
            if isinstance(error, OSError) and is_full(error):
                raise  # another attempt on this machine would find the disk as full
            now = self._tools.clock()
            return build_refused_status(self._pod, now=now, reason=UNSUPPORTED_REASON, message=f"{error}")

    async def _recover(self) -> dict[str, Any]:
        """Report a pod whose node ended while it ran: its processes ended with the node."""
        await kill_stragglers(self._uid)
        if end := read_end(self._folder):
            return self._build_end(end)
        message = "The process that ran this pod's node ended, and the pod with it."
        return build_refused_status(self._pod, now=self._tools.clock(), reason=NODE_LOST_REASON, message=message)

    async def _run_command(self) -> dict[str, Any]:
        container = _check_supported(self._pod)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._address = self._tools.addresses.take((self._tools.status_port, *list_ports(self._pod)))
        await self._write_status(
            build_waiting_status(self._pod, now=self._tools.clock(), reason="ContainerCreating", address=self._address)
        )
        mounts = await self._wait_for_mounts(container)
        variables = await self._build_environment(container, mounts)
        plan = ProcessPlan(
            uid=self._uid,
            command=_localise_program(resolve_command(container, variables)),
            environment=variables,
            folder=self._find_working_folder(container, mounts),
            log=pod_log(self._tools.logs, self._pod),
            result=end_file(self._folder),
            writable=list_writable(container, mounts, folder=self._folder),
        )
        return self._build_end(await self._run_process(PodProcess(plan)))

    async def _run_process(self, process: PodProcess) -> ProcessEnd:
        """Run the command to its end, or to the end of the grace period once the pod is to go."""
        self._mark_started()
        try:
            return await process.start() or await self._follow_process(process)
        except LostProcessError:
            return ProcessEnd(exit_code=_KILLED_EXIT_CODE, finished=self._tools.clock())
        except BaseException:
            await process.abandon()
            raise

    async def _follow_process(self, process: PodProcess) -> ProcessEnd:
        now = self._tools.clock()
        await self._write_status(build_running_status(self._pod, now=now, address=self._address, pid=process.pid or 0))
        ending = asyncio.create_task(process.wait())
        try:
            await self._stop_when_asked(process, ending)
            return await ending
        finally:
            ending.cancel()

    async def _stop_when_asked(self, process: PodProcess, ending: asyncio.Task[ProcessEnd]) -> None:
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait({ending, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not ending.done():
            process.terminate()
        # The deadline is read again and again: a second deletion may bring it forward.
        while not ending.done() and self._tools.clock() < self._kill_at:
            await asyncio.wait({ending}, timeout=min(_RETRY_SECONDS, max(0.0, self._kill_at - self._tools.clock())))
        if not ending.done():
            process.kill()

    async def _wait_for_mounts(self, container: Mapping[str, Any]) -> dict[str, Path]:
        namespace = self._pod["metadata"]["namespace"]

        async def find_claim(claim: str) -> Path | None:
            return await self._tools.port.find_claim_folder(namespace, claim)

        async def read_files(name: str) -> Mapping[str, str] | None:
            return await self._tools.port.read_config_map(namespace, name)

        while True:
            mounts = await prepare_mounts(
                self._pod, container, folder=self._folder, find_claim=find_claim, read_files=read_files
            )
            if mounts is not None:
                return mounts
            await self._pause()

    async def _build_environment(self, container: Mapping[str, Any], mounts: Mapping[str, Path]) -> dict[str, str]:
        status = {**self._pod.get("status", {}), "podIP": self._address, "hostIP": "127.0.0.1"}
        variables = resolve_environment({**self._pod, "status": status}, container)
        variables = translate_paths(variables, mounts)
        if endpoint := variables.get(RENDEZVOUS_ENDPOINT_ENV):
            variables[RENDEZVOUS_ENDPOINT_ENV] = await self._resolve_endpoint(endpoint)
        devices = await self._take_devices(_count_devices(container))
        return {**self._tools.environment, **variables, VISIBLE_DEVICES_ENV: ",".join(devices)}

    async def _take_devices(self, count: int) -> tuple[str, ...]:
        """Take GPUs; a pod that is gone for the scheduler may still be letting go of them."""
        while (devices := self._tools.devices.take(count, holder=self._uid)) is None:
            await self._pause()
        return devices

    async def _resolve_endpoint(self, endpoint: str) -> str:
        """Put an address in the place of a name that only a cluster's DNS knows."""
        if not is_named(endpoint):
            return endpoint
        hostname, _, subdomain = split_endpoint(endpoint)[0].partition(".")
        namespace = self._pod["metadata"]["namespace"]
        while (address := await self._tools.port.find_address(namespace, hostname, subdomain.split(".")[0])) is None:
            await self._pause()
        return f"{address}:{derive_port(endpoint)}"

    async def _pause(self) -> None:
        """Wait a moment before something is tried again.

        Raises:
            _StoppedError: if the pod is to go.
        """
        try:
            await asyncio.wait_for(self._stop.wait(), _RETRY_SECONDS)
        except TimeoutError:
            return
        raise _StoppedError

    def _find_working_folder(self, container: Mapping[str, Any], mounts: Mapping[str, Path]) -> Path:
        folder = Path(translate_path(container.get("workingDir", ""), mounts) or self._folder)
        return folder if folder.is_dir() else self._folder

    def _build_end(self, end: ProcessEnd) -> dict[str, Any]:
        container = self._pod["spec"]["containers"][0]
        return build_ended_status(
            self._pod,
            now=self._tools.clock(),
            exit_code=end.exit_code,
            started=self._read_started(),
            finished=end.finished,
            message=read_termination_message(
                container, folder=self._folder, log=pod_log(self._tools.logs, self._pod), failed=end.exit_code != 0
            ),
            problem=end.problem,
        )

    async def _write_status(self, status: dict[str, Any]) -> None:
        self._pod = {**self._pod, "status": status}
        await self._tools.port.write_pod_status(self._pod, status)

    @property
    def _started_file(self) -> Path:
        return self._folder / "started.json"

    def _has_started_before(self) -> bool:
        return self._started_file.exists()

    def _mark_started(self) -> None:
        self._started_file.write_text(json.dumps({"started": self._tools.clock()}))

    def _read_started(self) -> float | None:
        try:
            return float(json.loads(self._started_file.read_text())["started"])
        except (FileNotFoundError, ValueError):
            return None


def pod_folder_name(pod: Mapping[str, Any]) -> str:
    """Return a short name: sockets below it may have paths of 107 characters."""
    return f"pod-{pod['metadata']['uid'][:8]}"


def pod_log(logs: Path, pod: Mapping[str, Any]) -> Path:
    """Return the file that holds what a pod printed."""
    return logs / str(pod["metadata"]["namespace"]) / f"{pod['metadata']['name']}.log"


def _check_supported(pod: Pod) -> Mapping[str, Any]:
    """Return the pod's one container.

    Raises:
        _RefusedPodError: if the pod needs what only a container runtime has.
    """
    spec = pod["spec"]
    if len(spec["containers"]) != 1 or spec.get("initContainers"):
        raise _RefusedPodError("on one machine a pod has one container and no init containers")
    if spec.get("restartPolicy", "Always") != "Never":
        raise _RefusedPodError("on one machine a pod must have restartPolicy Never")
    container: Mapping[str, Any] = spec["containers"][0]
    if not container.get("command"):
        raise _RefusedPodError("on one machine a container needs a command: there is no image to take it from")
    return container


def _localise_program(command: list[str]) -> list[str]:
    """Let `python` be the interpreter of this installation."""
    return [sys.executable, *command[1:]] if command[0] in ("python", "python3") else command


def _count_devices(container: Mapping[str, Any]) -> int:
    limits = container.get("resources", {}).get("limits", {})
    return sum(int(amount) for name, amount in limits.items() if "/" in name)
