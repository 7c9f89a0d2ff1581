"""The names of the folders in `<run>/checkpoints`: what is complete, what is being written, what is being deleted.

A folder called `step-N` is complete and verified; whatever else a crash left carries the attempt that made it in its name.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

CHECKPOINTS_DIR = "checkpoints"
_COMPLETE = re.compile(r"step-(\d{9,})")
_LEFTOVER = re.compile(r"step-\d{9,}\.a(\d+)\.(?:partial|deleting)")
_REPLACED = re.compile(r"(step-\d{9,})\.a(\d+)\.replaced")


def step_name(step: int) -> str:
    return f"step-{step:09d}"


def partial_name(step: int, *, attempt: int) -> str:
    """Return the folder's name while it is being written."""
    return f"{step_name(step)}.a{attempt}.partial"


def deleting_suffix(attempt: int) -> str:
    return f".a{attempt}.deleting"


def replaced_name(step: int, *, attempt: int) -> str:
    """Return the name of an intact checkpoint for the moment in which a better one of the same step takes its place."""
    return f"{step_name(step)}.a{attempt}.replaced"


def list_complete(checkpoints: Path) -> list[tuple[int, Path]]:
    """Return (step, folder) of the complete checkpoints, newest first."""
    found = [(int(match[1]), folder) for match, folder in _matches(_COMPLETE, checkpoints) if folder.is_dir()]
    return sorted(found, reverse=True)


def remove_leftovers(checkpoints: Path, *, attempt: int) -> list[str]:
    """Delete what attempts up to this one left half written or half deleted, and return the names.

    A later attempt's folders are its own: this process is then the zombie.
    """
    names = []
    for match, folder in _matches(_LEFTOVER, checkpoints):
        if int(match[1]) <= attempt:
            shutil.rmtree(folder)
            names.append(folder.name)
    return names


def restore_replaced(checkpoints: Path, *, attempt: int) -> list[str]:
    """Give back their names to the checkpoints of attempts up to this one whose replacement did not come to be.

    What has been replaced is deleted. Returns the names of the folders that were dealt with.
    """
    names = []
    for match, folder in _matches(_REPLACED, checkpoints):
        if int(match[2]) <= attempt:
            final = folder.with_name(match[1])
            if final.exists():
                shutil.rmtree(folder)
            else:
                folder.rename(final)
            names.append(folder.name)
    return names


def _matches(pattern: re.Pattern[str], checkpoints: Path) -> Iterator[tuple[re.Match[str], Path]]:
    if not checkpoints.is_dir():
        return
    for folder in sorted(checkpoints.iterdir()):
        if match := pattern.fullmatch(folder.name):
            yield match, folder
