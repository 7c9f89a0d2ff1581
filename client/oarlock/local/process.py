"""One pod's command as a tree of processes, seen from the node: start, ask to stop, kill, and how it ended.

The tree hangs on a keeper process (`keeper.py`), which ends it when this process is gone. It never decides what an end means.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

POD_MARK_ENV = "OARLOCK_LOCAL_POD"
"""UID of the pod, in the environment of its processes: by it stragglers of a crash are found."""

_KEEPER = Path(__file__).with_name("keeper.py")


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessEnd:
    """How a pod's command ended."""

    exit_code: int
    """As a container runtime reports it: 128 and the signal's number for a killed command."""
    finished: float
    """Seconds since 1970."""
    problem: str = ""
    """Why the command could not be started; empty if it was."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessPlan:
    """What is to be run, and how."""

    uid: str
    """UID of the pod."""
    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    """Working folder."""
    log: Path
    """Receives what is printed."""
    result: Path
    """Will tell how it ended."""
    writable: Sequence[Path] | None = None
    """All that it may write to, where the kernel can hold it to that; None: whatever the user may."""

    def format_options(self) -> str:
        """Return the keeper's first argument."""
        writable = None if self.writable is None else [str(path) for path in self.writable]
        options = {"log": str(self.log), "folder": str(self.folder), "result": str(self.result), "writable": writable}
        return json.dumps(options)


class LostProcessError(Exception):
    """The keeper of a pod was killed, and with it the pod."""


class PodProcess:
    """The processes of one pod."""

    def __init__(self, plan: ProcessPlan) -> None:
        self.pid: int | None = None
        """Process id of the command, once it has started."""
        self._plan = plan
        self._keeper: asyncio.subprocess.Process | None = None

    async def start(self) -> ProcessEnd | None:
        """Start the command; return how it ended if it could not be started."""
        plan = self._plan
        plan.log.parent.mkdir(parents=True, exist_ok=True)
        self._keeper = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(_KEEPER), plan.format_options(), *plan.command),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**plan.environment, POD_MARK_ENV: plan.uid},
            start_new_session=True,  # Ctrl-C is for this process alone, which then stops its pods in order
        )
        message = await self._read_message()
        self.pid = message.get("started")
        return None if self.pid else _read_end(message)

    async def wait(self) -> ProcessEnd:
        """Wait until nothing of the pod is left.

        Raises:
            LostProcessError: if somebody killed the keeper; the command is gone then too, unseen.
        """
        message = await self._read_message()
        return _read_end(message)

    def terminate(self) -> None:
        self._order(b"T")

    def kill(self) -> None:
        self._order(b"K")

    async def abandon(self) -> None:
        """Let go of the pod as this process's own end would: everything in it is killed, and no end is recorded."""
        if self._keeper and self._keeper.stdin:
            self._keeper.stdin.close()
            await self._keeper.wait()

    def _order(self, letter: bytes) -> None:
        if self._keeper and self._keeper.stdin:
            with contextlib.suppress(ConnectionError, RuntimeError):  # it has ended already
                self._keeper.stdin.write(letter)

    async def _read_message(self) -> dict[str, Any]:
        assert self._keeper and self._keeper.stdout, "start() comes first"  # noqa: PT018, S101
        line = await self._keeper.stdout.readline()
        if line:
            message: dict[str, Any] = json.loads(line)
            if "started" not in message:
                await self._keeper.wait()
            return message
        await self._keeper.wait()
        await kill_stragglers(self._plan.uid)
        raise LostProcessError("the process that held the pod was killed")


def end_file(folder: Path) -> Path:
    """Return the file in a pod's folder that tells how its command ended."""
    return folder / "end.json"


def read_end(folder: Path) -> ProcessEnd | None:
    """Return how a pod's command ended while nobody watched; None if it did not end by itself."""
    try:
        return _read_end(json.loads(end_file(folder).read_text()))
    except FileNotFoundError:
        return None


def _read_end(message: Mapping[str, Any]) -> ProcessEnd:
    problem = str(message.get("error", ""))
    return ProcessEnd(exit_code=message.get("exitCode", 128), finished=message["finished"], problem=problem)


async def kill_stragglers(uid: str) -> None:
    """Kill every process of a pod that lost its keeper, and wait until they are gone."""
    while living := list(_find_marked(uid)):
        for pid in living:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(0.02)


def _find_marked(uid: str) -> Iterator[int]:
    mark = f"{POD_MARK_ENV}={uid}".encode()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            # Zombies have an empty environment, and those of other users cannot be read.
            with contextlib.suppress(OSError):
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    yield int(folder.name)
