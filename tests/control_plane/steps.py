"""Run the programs of a build one after the other: their output goes to one log file, somebody watches it grow, and none of
them outlives this process."""

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from control_plane.errors import ControlPlaneError
from control_plane.processes import Process

_POLL_SECONDS = 0.1


class Steps:
    """Runs programs politely (`nice`) and logs to one file; `on_tick` is called while one runs."""

    def __init__(self, log: Path, *, on_tick: Callable[[], None]) -> None:
        self.log, self._on_tick = log, on_tick

    def run(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        on_tick: Callable[[], None] | None = None,
    ) -> None:
        """Run a program to its end; raise an error if it fails."""
        self._note(f"$ {' '.join(command)}"[:2000])
        process = Process(
            command[0],
            [_find_program("nice"), "-n", "10", _find_program(command[0]), *command[1:]],
            self.log,
            environment={**os.environ, **(environment or {})},
            folder=folder,
        )
        process.start()
        try:
            while process.is_running():
                (on_tick or self._on_tick)()
                time.sleep(_POLL_SECONDS)
            if process.exit_code:
                raise ControlPlaneError(f"`{command[0]} {command[1]}` ended with status {process.exit_code}")
        finally:
            process.stop()

    def _note(self, line: str) -> None:
        with self.log.open("a") as log:
            log.write(f"{line}\n")


def _find_program(name: str) -> str:
    found = shutil.which(name)
    if not found:
        raise ControlPlaneError(f"the program {name} is not on PATH; install it")
    return found
