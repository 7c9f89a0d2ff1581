"""The fence: which attempt owns the run's folder on the volume.

Pods are never force-deleted, so a process of an earlier attempt may still run on a node that nobody reaches, and may come back.
Each attempt puts down a mark of its own before its first step, and looks for a higher one before every commit and before
every sweep. Marks are only ever added: with one file that both would rewrite, a zombie that had read it before its successor
wrote could put its own, lower number back.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from oarlock_trainer.checkpoints.durability import sync_folder, write_durably
from oarlock_trainer.errors import CheckpointMismatchError, SupersededError

FENCE_DIR = "fence"
_MARK = re.compile(r"attempt-(\d+)\.json")


@dataclass(frozen=True, kw_only=True, slots=True)
class Fence:
    """One attempt's view of who owns the run's folder."""

    run_dir: Path
    job_uid: str
    attempt: int

    def claim(self) -> None:
        """Put this attempt's mark on the volume; doing it again (a retry in the pod) changes nothing.

        Raises:
            SupersededError: if a higher attempt has been here.
            CheckpointMismatchError: if the folder belongs to another job.
            OSError: if the volume cannot be written.
        """
        self.check()
        folder = self.run_dir / FENCE_DIR
        folder.mkdir(parents=True, exist_ok=True)
        sync_folder(self.run_dir)
        mark = {"jobUid": self.job_uid, "attempt": self.attempt}
        write_durably(folder / f"attempt-{self.attempt}.json", json.dumps(mark).encode())
        self.check()

    def check(self) -> None:
        """Raise if this attempt no longer owns the folder, with the errors of `claim`."""
        marks = _read_marks(self.run_dir / FENCE_DIR)
        highest = max(marks, default=self.attempt)
        if highest > self.attempt:
            raise SupersededError(
                f"attempt {highest} of this job owns {self.run_dir}; this is attempt {self.attempt}",
                remedy="nothing is to be done: the later attempt trains on",
            )
        strangers = {uid for uid in marks.values() if uid not in (self.job_uid, "")}
        if strangers:
            raise CheckpointMismatchError(
                f"{self.run_dir} belongs to the job with UID {strangers.pop()}; this job's UID is {self.job_uid}",
                remedy="give this job a folder of its own",
            )


def _read_marks(folder: Path) -> dict[int, str]:
    """Return the job UID by attempt. A mark's name counts even if its content cannot be read."""
    if not folder.is_dir():
        return {}
    found = [(match, file) for file in folder.iterdir() if (match := _MARK.fullmatch(file.name))]
    return {int(match[1]): _read_uid(file) for match, file in found}


def _read_uid(file: Path) -> str:
    try:
        return str(json.loads(file.read_bytes())["jobUid"])
    except (ValueError, KeyError, TypeError):
        return ""
