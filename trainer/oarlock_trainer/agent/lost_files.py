"""What became of the data set when a rank was killed by SIGBUS: a page of a file that it had mapped could not be read.

The rank has no word left, and its files may tell: one that is shorter than at import, or a volume that does not answer. Nothing is
read but the description and the sizes. Standard library only.
"""

import json
import threading
from dataclasses import dataclass
from pathlib import Path

from oarlock_api.contract import Cause
from oarlock_trainer.errors import DataCorruptError, DataMissingError, StorageError, TrainerError

LOST_PAGE_REMEDY = (
    "see the node's kernel log for errors of the data set's volume; if there are none, /dev/shm was full: raise"
    " workers.resources.memory, of which it is a part"
)
_PATIENCE_SECONDS = 5.0
_IMPORT_AGAIN = "delete the folder of this data set version and import the Dataset again"
_DESCRIPTION = "dataset.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class LostFile:
    """What was found."""

    cause: Cause
    finding: str
    remedy: str


def look_for_lost_file(folder: Path, *, patience: float = _PATIENCE_SECONDS) -> LostFile:
    """Compare the files of a data set with its description, waiting at most so many seconds for the volume."""
    found: list[LostFile] = []
    # A volume that hangs holds up whoever asks it, and no signal ends that.
    thread = threading.Thread(target=lambda: found.append(_judge(folder)), name="lost-files", daemon=True)
    thread.start()
    thread.join(patience)
    if found:
        return found[0]
    return LostFile(
        cause=Cause.STORAGE_FAILED,
        finding=f"the volume of the data set, at {folder}, does not answer",
        remedy="see to the volume and its server; training resumes from the last checkpoint",
    )


def _judge(folder: Path) -> LostFile:
    try:
        _check(folder)
    except TrainerError as error:
        return LostFile(cause=error.cause, finding=str(error), remedy=error.remedy)
    return LostFile(
        cause=Cause.PROCESS_KILLED,
        finding=f"the files of the data set in {folder} are as large as at import",
        remedy=LOST_PAGE_REMEDY,
    )


def _check(folder: Path) -> None:
    path = folder / _DESCRIPTION
    try:
        sizes = _read_sizes(path.read_text(encoding="utf-8"))
        for name, size in sizes.items():
            path = folder / name
            found = path.stat().st_size
            if found != size:
                raise DataCorruptError(f"{path} has {found} bytes instead of {size}", remedy=_IMPORT_AGAIN)
    except FileNotFoundError as error:
        raise DataMissingError(f"{path} is missing", remedy=_IMPORT_AGAIN) from error
    except OSError as error:
        raise StorageError.from_os_error(error, doing="reading the data set", path=path) from error


def _read_sizes(text: str) -> dict[str, int]:
    """Return the bytes of each shard, by its name. A description that says something else is the next attempt's to refuse."""
    try:
        splits = json.loads(text)["shards"]
        return {shard["file"]: shard["bytes"] for shards in splits.values() for shard in shards}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
