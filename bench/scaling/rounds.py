"""The order of a measurement: one control plane, one operator, bursts that take turns, and the lives of their pods after them."""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kube.operator_process import OperatorProcess
from kube_node.raw_api import RawApi
from scaling import manifests
from scaling.bursts import Burst, PodWatch, run_burst
from scaling.fake_node import READY
from scaling.floor import make_follow
from scaling.meters import AuditLog, Meter, read_memory

from control_plane.components import APISERVER, CONTROLLER_MANAGER, ETCD
from control_plane.processes import Process
from control_plane.server import ControlPlane
from oarlock_operator import names

NAMESPACE, JOB_NAMESPACE = "bench", "bench-jobs"
SHIPPED = {"PROGRESS_MIN_SECONDS": "5", "PROGRESS_WRITE_SECONDS": "30", "RETRY_DELAY_SECONDS": "5"}
"""Settings as the operator ships with: tests are more eager."""
AUDIT_SECONDS = 1.5
"""The audit log is written once a second."""
HERE = Path(__file__).resolve().parent


@dataclass
class Outcome:
    """One burst."""

    kind: str
    seconds: list[float]
    """From creation to the last pod, sorted."""
    spread: float
    burst_cpu: dict[str, float]
    life_cpu: dict[str, float] = field(default_factory=dict)
    calls: dict[str, Counter[str]] = field(default_factory=dict)
    """Requests over the whole life, by client."""
    memory: tuple[float, float] = (0.0, 0.0)
    """Megabytes of the operator after the burst, and at most so far."""
    groups: int = 0


@dataclass
class Result:
    """Everything that was measured."""

    version: str = ""
    idle_memory: float = 0.0
    idle_cpu: float = 0.0
    """Seconds of processor time per second, before there is any job."""
    loaded_idle_cpu: float = 0.0
    """The same with all jobs there and running, and nothing happening."""
    outcomes: list[Outcome] = field(default_factory=list)
    floor: list[float] = field(default_factory=list)
    """Seconds of a burst of pairs of which only the requests are sent, without an operator, sorted."""

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "outcomes": [vars(outcome) for outcome in self.outcomes]}


class Bench:
    """Measures on one control plane."""

    def __init__(self, control_plane: ControlPlane, folder: Path, options: argparse.Namespace) -> None:
        self.control_plane, self.folder, self.options = control_plane, folder, options
        self.result = Result(version=control_plane.version)
        self.pause = min(1.0, options.jobs / 200)
        self.api: RawApi
        self.watch: PodWatch
        self.node: Process
        self.operator = OperatorProcess(control_plane.kubeconfig, folder / "operator", settings=SHIPPED)

    async def run(self) -> Result:
        self.api = await RawApi.open(self.control_plane.kubeconfig)
        self.watch = await PodWatch.open(self.control_plane.kubeconfig)
        self.audit = AuditLog(self.folder / "audit.log")
        try:
            for namespace in (NAMESPACE, JOB_NAMESPACE):
                await asyncio.to_thread(self.control_plane.create_namespace, namespace)
            await asyncio.to_thread(self.operator.start)
            async with self._node():
                await self._prepare_data()
                await self._measure_idle()
                await self._take_turns()
            await asyncio.to_thread(self.operator.stop)
            await self._measure_floor()
        finally:
            await asyncio.to_thread(self.operator.stop)
            await self.watch.close()
            await self.api.close()
        return self.result

    async def _take_turns(self) -> None:
        for number in range(self.options.rounds):
            await self._measure("Job", JOB_NAMESPACE, self._make_jobs(number))
            await self._measure("pair", NAMESPACE, self._make_pairs(number))
        if self.options.full:
            await self._measure("full", NAMESPACE, self._make_full())

    async def _measure_floor(self) -> None:
        """Send the requests of a burst of pairs without an operator."""
        jobs = manifests.TRAINING_JOBS_PATH.format(namespace=NAMESPACE)
        job = await self.api.ask("GET", f"{jobs}/pair0-0-a")
        ours = f"{names.UID_LABEL}={job['metadata']['uid']}"
        pods = await self.api.ask("GET", f"/api/v1/namespaces/{NAMESPACE}/pods", labelSelector=ours)
        burst = replace(self._make_pairs(self.options.rounds), follow=make_follow(job, pods["items"][0]))
        _say(f"requests alone: {len(burst.groups)} …")
        timeline = await run_burst(self.api, self.watch, NAMESPACE, burst, patience=self.options.patience)
        self.result.floor = timeline.list_seconds()

    def _make_jobs(self, number: int) -> Burst:
        groups = {name: [manifests.build_job(name)] for name in self._names(f"job{number}", self.options.jobs)}
        return Burst(path=manifests.JOBS_PATH, groups=groups)

    def _make_pairs(self, number: int) -> Burst:
        names = self._names(f"pair{number}", self.options.jobs)
        groups = {name: [manifests.build_single(f"{name}-{half}") for half in ("a", "b")] for name in names}
        return Burst(path=manifests.TRAINING_JOBS_PATH, groups=groups)

    def _make_full(self) -> Burst:
        groups = {name: [manifests.build_full(name)] for name in self._names("full", self.options.full)}
        return Burst(path=manifests.TRAINING_JOBS_PATH, groups=groups)

    def _names(self, prefix: str, count: int) -> list[str]:
        return [f"{prefix}-{number}" for number in range(count)]

    @property
    def _pids(self) -> dict[str, int]:
        pids = self.control_plane.pids
        own = {"operator": self.operator.pid, "bench": os.getpid(), "fake node": self.node.pid or 0}
        return {name: pids[name] for name in (APISERVER, ETCD, CONTROLLER_MANAGER)} | own

    async def _prepare_data(self) -> None:
        volume, claim = manifests.build_claim(NAMESPACE)
        await self.api.ask("POST", "/api/v1/persistentvolumes", volume)
        await self.api.ask("POST", f"/api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims", claim)
        path = f"/apis/oarlock.dev/v1alpha1/namespaces/{NAMESPACE}/datasets"
        await self.api.ask("POST", path, manifests.build_dataset())
        await self._wait(lambda: self._has_phase(f"{path}/{manifests.DATASET}", "Ready"), "the Dataset is not Ready")

    async def _has_phase(self, path: str, phase: str) -> bool:
        found = await self.api.ask("GET", path)
        return bool((found.get("status") or {}).get("phase") == phase)

    async def _measure_idle(self) -> None:
        await asyncio.sleep(self.pause)
        self.result.idle_memory = read_memory(self.operator.pid)[0]
        self.result.idle_cpu = await self._measure_rest()

    async def _measure_rest(self) -> float:
        """Return the operator's processor time per second while nothing happens."""
        meter = Meter({"operator": self.operator.pid})
        await asyncio.sleep(self.options.idle_seconds)
        return meter.take()["operator"] / self.options.idle_seconds

    async def _measure(self, kind: str, namespace: str, burst: Burst) -> None:
        _say(f"{kind}: {len(burst.groups)} …")
        self.audit.take()
        meter = Meter(self._pids)
        if self.options.node_from_start:
            self.node.signal(signal.SIGUSR1)
        timeline = await run_burst(self.api, self.watch, namespace, burst, patience=self.options.patience)
        outcome = Outcome(
            kind=kind,
            seconds=timeline.list_seconds(),
            spread=timeline.spread,
            burst_cpu=meter.take(),
            memory=read_memory(self.operator.pid),
            groups=len(burst.groups),
        )
        self.result.outcomes.append(outcome)
        _say(
            f"  all pods are there after {outcome.spread:.1f} s, the slowest after {outcome.seconds[-1]:.1f} s; now they run and end"
        )
        await self._live(namespace, burst, kind)
        outcome.life_cpu = meter.take()
        await asyncio.sleep(AUDIT_SECONDS)
        outcome.calls = self.audit.take()
        outcome.memory = (outcome.memory[0], read_memory(self.operator.pid)[1])

    async def _live(self, namespace: str, burst: Burst, kind: str) -> None:
        """Let all pods run, and then end."""
        self.node.signal(signal.SIGUSR1)
        names = {item["metadata"]["name"] for items in burst.groups.values() for item in items}
        pods = len(burst.groups) * burst.pods
        await self._wait(lambda: self._count_pods(namespace, names, "Running", pods), "not all pods run")
        if kind == "full":
            self.result.loaded_idle_cpu = await self._measure_rest()
        self.node.signal(signal.SIGUSR2)
        path = burst.path.format(namespace=namespace)
        await self._wait(lambda: self._have_ended(path, names), "not all jobs have ended")

    async def _count_pods(self, namespace: str, names: set[str], phase: str, pods: int) -> bool:
        path = f"/api/v1/namespaces/{namespace}/pods"
        listed = await self.api.ask("GET", path, fieldSelector=f"status.phase={phase}", resourceVersion="0")
        ours = [pod for pod in listed["items"] if pod["metadata"]["ownerReferences"][0]["name"] in names]
        return len(ours) >= pods

    async def _have_ended(self, path: str, names: set[str]) -> bool:
        listed = await self.api.ask("GET", path, resourceVersion="0")
        ended = {
            item["metadata"]["name"] for item in listed["items"] if (item.get("status") or {}).get("completionTime")
        }
        return names <= ended

    async def _wait(self, is_true: Callable[[], Awaitable[bool]], what: str) -> None:
        deadline = time.monotonic() + self.options.patience
        while not await is_true():
            self.control_plane.check()
            self.operator.check()
            self.node.check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}\n{self.operator.read_log()[-3000:]}")
            await asyncio.sleep(self.pause)

    @contextlib.asynccontextmanager
    async def _node(self) -> AsyncIterator[None]:
        """Have the fake node in the cluster as long as the block lasts."""
        kubeconfig, folder = str(self.control_plane.kubeconfig), str(self.folder)
        command = [sys.executable, str(HERE / "fake_node.py"), kubeconfig, folder]
        paths = os.pathsep.join([str(HERE.parents[1] / "tests"), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "PYTHONPATH": paths}
        self.node = Process("fake-node", command, self.folder / "node.log", environment=environment)
        self.node.start()
        try:
            await self._wait(self._is_node_ready, "the node is not there")
            yield
        finally:
            await asyncio.to_thread(self.node.stop)

    async def _is_node_ready(self) -> bool:
        return (self.folder / READY).exists()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
