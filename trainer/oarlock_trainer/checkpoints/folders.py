"""The names of the folders in `<run>/checkpoints`: what is complete, what is being written, what is being deleted.

A folder called `step-N` is complete and verified; whatever else a crash left carries the attempt that made it in its name. An
attempt that was given up may still run where nobody reaches it, and work in these folders while the next one clears them.
"""

import errno
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

CHECKPOINTS_DIR = "checkpoints"
_COMPLETE = re.compile(r"step-(\d{9,})")
_LEFTOVER = re.compile(r"step-\d{9,}\.a(\d+)\.(?:partial|deleting)")
_REPLACED = re.compile(r"(step-\d{9,})\.a(\d+)\.replaced")

_OCCUPIED = frozenset({errno.ENOTEMPTY, errno.EEXIST})
_CONTESTED = _OCCUPIED | {errno.ENOENT, errno.ESTALE, errno.EBUSY}
"""Errors of deleting a folder that another process writes to, or deletes at the same time; on network volumes, the last two."""
_TRIES = 10


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


def remove_leftovers(checkpoints: Path, *, attempt: int) -> None:
    """Delete what attempts up to this one left half written or half deleted.

    A later attempt's folders are its own: this process is then the zombie.
    """
    for match, folder in _matches(_LEFTOVER, checkpoints):
        if int(match[1]) <= attempt:
            delete_contested(folder)


def restore_replaced(checkpoints: Path, *, attempt: int) -> None:
    """Give back their names to the checkpoints of attempts up to this one whose replacement did not come to be.

    What has been replaced is deleted.
    """
    for match, folder in _matches(_REPLACED, checkpoints):
        if int(match[2]) <= attempt:
            _give_back(folder, folder.with_name(match[1]))


def delete_contested(folder: Path) -> None:
    """Delete a folder in which an earlier attempt may still be writing, or which it may be deleting as well.

    That is no fault of the volume and must not end an attempt. What the other one adds to the last stays until the next
    attempt: it can give it no name that counts.

    Raises:
        OSError: if the volume refuses.
    """
    for _ in range(_TRIES):
        try:
            shutil.rmtree(folder)
        except OSError as error:
            if error.errno not in _CONTESTED:
                raise
        if not folder.exists():
            return


def _give_back(folder: Path, final: Path) -> None:
    try:
        folder.rename(final)
    except FileNotFoundError:
        return  # whoever replaced it has just deleted it
    except OSError as error:
        if error.errno not in _OCCUPIED:
            raise
        delete_contested(folder)


def _matches(pattern: re.Pattern[str], checkpoints: Path) -> Iterator[tuple[re.Match[str], Path]]:
    if not checkpoints.is_dir():
        return
    for folder in sorted(checkpoints.iterdir()):
        if match := pattern.fullmatch(folder.name):
            yield match, folder
