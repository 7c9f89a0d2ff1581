"""`oarlock logs`: what the pods of a job or an import printed."""

import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from oarlock.local.object_store import find_owner
from oarlock.local.runs_folder import RunsFolder
from oarlock_operator.names import short_uid

Object = Mapping[str, Any]

_POLL_SECONDS = 0.3


def find_logs(item: Object, runs: RunsFolder, *, attempt: int | None = None) -> list[Path]:
    """Return the log files of an object's pods, the oldest attempt first; of one attempt, if it is given."""
    metadata = item["metadata"]
    prefix = _pod_prefix(item)
    found = (runs.logs / str(metadata["namespace"])).glob(f"{prefix}*.log")
    numbered = [(numbers, path) for path in found if (numbers := _read_numbers(path.stem.removeprefix(prefix)))]
    return [path for numbers, path in sorted(numbered) if attempt in (None, numbers[0])]


def find_output(item: Object, runs: RunsFolder) -> Path | None:
    """Return what the first pod of the last attempt printed; None if none has run."""
    attempts = list_attempts(item, runs)
    return find_logs(item, runs, attempt=attempts[-1])[0] if attempts else None


def list_attempts(item: Object, runs: RunsFolder) -> list[int]:
    """Return the attempts of which there are logs."""
    prefix = _pod_prefix(item)
    return sorted({_read_numbers(path.stem.removeprefix(prefix))[0] for path in find_logs(item, runs)})


def _pod_prefix(item: Object) -> str:
    return f"{item['metadata']['name']}-{short_uid(item['metadata']['uid'])}-"


def _read_numbers(suffix: str) -> tuple[int, ...]:
    """Return attempt and rank of a pod, from what its name ends with: `0-1`, or `import-0`."""
    parts = suffix.removeprefix("import-").split("-")
    return tuple(map(int, parts)) if all(part.isdigit() for part in parts) else ()


def print_logs(paths: Sequence[Path], *, out: IO[bytes] | None = None) -> None:
    """Print log files one after the other, each under its name if there are several."""
    out = out or sys.stdout.buffer
    for path in paths:
        if len(paths) > 1:
            out.write(f"==> {path.stem} <==\n".encode())
        with path.open("rb") as stream:
            shutil.copyfileobj(stream, out)
    out.flush()


def follow_log(
    path: Path, runs: RunsFolder, *, out: IO[bytes] | None = None, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Print a log file, and what is added to it for as long as somebody works in the runs folder."""
    out = out or sys.stdout.buffer
    with path.open("rb") as stream:
        while True:
            is_owned = find_owner(runs.store) is not None
            shutil.copyfileobj(stream, out)
            out.flush()
            if not is_owned:
                return
            sleep(_POLL_SECONDS)
