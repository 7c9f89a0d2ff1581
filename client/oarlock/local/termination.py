"""The termination message of a container, as the kubelet collects it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from oarlock.local.mounts import TERMINATION_FILE

_MAX_MESSAGE_BYTES = 4096
_MAX_LOG_BYTES, _MAX_LOG_LINES = 2048, 80


def read_termination_message(container: Mapping[str, Any], *, folder: Path, log: Path, failed: bool) -> str:
    """Return what the command left behind for the API server, cut as the kubelet cuts it."""
    message = _read_end(folder / TERMINATION_FILE, _MAX_MESSAGE_BYTES)
    wants_log = container.get("terminationMessagePolicy") == "FallbackToLogsOnError"
    if message or not (failed and wants_log):
        return message
    return "\n".join(_read_end(log, _MAX_LOG_BYTES).splitlines()[-_MAX_LOG_LINES:])


def _read_end(path: Path, limit: int) -> str:
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - limit))
            return stream.read(limit).decode(errors="replace")
    except FileNotFoundError:
        return ""
