"""Gangs of real agents in which something goes wrong, and the status that the operator's planner makes of what they say."""

import contextlib
import itertools
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agent.pods import Pod, make_environment
from reconciling.job_states import JOB_UID, SETTINGS, accept, end_pod, make_spec, run_pod

from oarlock_api import contract
from oarlock_operator.reconcile.observed import ObservedJob, ObservedPod, WorkerReport
from oarlock_operator.reconcile.training_job import plan_job
from oarlock_operator.untrusted import Identity, read_termination_record, read_worker_status

_DRIVER = Path(__file__).parents[1] / "agent" / "agent_driver.py"
_LAUNCHER = Path(__file__).with_name("fault_launcher.py")
_KILLED = 137


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What each node runs, and what is wrong around it."""

    nodes: Mapping[int, str]
    """Scenario by node rank; nodes that are not named have a pod in which nothing runs."""
    of: int = 0
    """Number of nodes, if more than are named."""
    processes: int = 1
    deadline: int = 600
    """Progress deadline in seconds."""
    variables: Mapping[str, str] = field(default_factory=dict)
    wrapper: tuple[str, ...] = ()
    """Command line that starts the agent."""
    port: int = 0
    """Port of the rendezvous; 0: any that is free."""

    @property
    def count(self) -> int:
        return max(self.of, len(self.nodes))


_ports = itertools.count(20_000 + os.getpid() % 5000)


def take_port() -> int:
    """Return a port that nobody has: below those that the kernel gives to whoever connects."""
    for port in _ports:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError


class Gang:
    """The pods of one attempt, as processes."""

    def __init__(self, scene: Scene, folder: Path) -> None:
        self.scene, self.folder = scene, folder
        spec = make_spec(nodes=scene.count, recipe={"batchSize": 64})
        self._job = accept(spec=spec, now=time.time())
        assert self._job.status.run is not None
        self._identity = Identity(job_uid=JOB_UID, attempt=0, run_hash=self._job.status.run["hash"])
        self._endpoint = f"127.0.0.1:{scene.port or take_port()}"
        self._started, self._rank_seen = time.time(), 0.0
        self.ended_by_itself = False
        self.pods = {node: self._start(node, scenario) for node, scenario in scene.nodes.items()}

    def _start(self, node: int, scenario: str) -> Pod:
        folder = self.folder / str(node)
        folder.mkdir(parents=True)
        variables = {
            "JOB_UID": JOB_UID,
            "RUN_HASH": self._identity.run_hash,
            "ATTEMPT": "0",
            "NODES": str(self.scene.count),
            "NODE_RANK": str(node),
            "PROCESSES_PER_NODE": str(self.scene.processes),
            "PROGRESS_DEADLINE_SECONDS": str(self.scene.deadline),
            "RENDEZVOUS_ENDPOINT": self._endpoint if self.scene.count > 1 else "",
            "RENDEZVOUS_ID": "job-a0",
            "JOIN_TIMEOUT_SECONDS": "480",
            "RUN_DIR": str(self.folder / "run"),
            "STATUS_PORT": str(take_port()),
            **self.scene.variables,
        }
        environment = {**make_environment(folder, **variables), "FAULT_BEGAN": str(self.folder / "began")}
        launcher = [sys.executable, str(_LAUNCHER), scenario]
        # The shell becomes the agent, so that ranks know its process.
        command = [
            "sh",
            "-c",
            'FAULT_AGENT=$$ exec "$@"',
            "sh",
            *self.scene.wrapper,
            sys.executable,
            str(_DRIVER),
            "train",
        ]
        return Pod([*command, *launcher], environment, folder)

    @property
    def began(self) -> float:
        """When the fault began, in seconds since 1970: as the ranks noted it, else when the pods or the first rank started."""
        try:
            return (self.folder / "began").stat().st_mtime
        except OSError:
            return self._rank_seen or self._started

    def dismiss(self) -> None:
        """Make room for the others: what still runs has nothing more to say."""
        self.ended_by_itself = self.has_ended
        if not self.ended_by_itself:
            self.destroy()

    @property
    def has_ended(self) -> bool:
        return all(pod.agent.poll() is not None for pod in self.pods.values())

    @property
    def has_survivors(self) -> bool:
        return any(pod.survivors() for pod in self.pods.values())

    def plan_status(self) -> dict[str, Any]:
        """Return the status of the job as it follows from what the pods say now."""
        now = time.time()
        running = replace(self._job, pods=tuple(run_pod(pod, started=self._started) for pod in self._job.pods))
        started = self._plan(running, now=self._started)
        reports = {node: self._ask(pod, now=now) for node, pod in self.pods.items()}
        reports |= dict.fromkeys(
            set(range(self.scene.count)) - reports.keys(), WorkerReport(status=None, failing_since=now)
        )
        seen = tuple(self._observe(pod) for pod in started.pods)
        # Five seconds on, nobody better is waited for.
        over = replace(started, pods=seen, report=reports.pop(0), peers=reports)
        return self._plan(over, now=now + 6).status.to_wire()

    def _plan(self, job: ObservedJob, *, now: float) -> ObservedJob:
        plan = plan_job(replace(job, confirmed=True), now=now, settings=SETTINGS)
        return replace(job, status=plan.status) if plan.status is not None else job  # type: ignore[arg-type]

    def _ask(self, pod: Pod, *, now: float) -> WorkerReport:
        if pod.agent.poll() is not None:
            return WorkerReport(status=None, failing_since=now)
        try:
            content = pod.read(contract.STATUS_PATH).encode()
        except OSError:
            return WorkerReport(status=None, failing_since=now)
        status = read_worker_status(content, expected=self._identity)
        assert status.note == ""
        if status.value and status.value.ranks and not self._rank_seen:
            self._rank_seen = now
        pod.processes()
        return WorkerReport(status=status.value, answered=now)

    def _observe(self, observed: ObservedPod) -> ObservedPod:
        pod = self.pods.get(observed.rank)
        code = pod.agent.poll() if pod else None
        if pod is None or code is None:
            return observed
        termination = Path(pod.environment[contract.TERMINATION_LOG_ENV])
        said = termination.read_text() if termination.exists() else ""
        record = read_termination_record(said, expected=self._identity)
        assert record.note == ""
        return end_pod(
            observed,
            exit_code=_KILLED if code == -signal.SIGKILL else code,
            record=record.value,
            finished=termination.stat().st_mtime if said else time.time(),
        )

    def describe(self) -> str:
        """Return what was printed and said, for a test that fails."""
        status = self.plan_status()
        said = [f"node {node}: {pod.read_output()[-1500:]}" for node, pod in self.pods.items()]
        return "\n".join(
            [*said, json.dumps({key: status.get(key) for key in ("phase", "reason", "message", "failures")}, indent=1)]
        )

    def destroy(self) -> None:
        for pod in self.pods.values():
            pod.destroy()
