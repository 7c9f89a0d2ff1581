"""`./oarlock-runs`: where everything of the local cluster is.

.cluster/                        the objects, the lock
volumes/NAMESPACE/CLAIM/         data sets, checkpoints, exported models
jobs/JOB                         link to what a job wrote: checkpoints, log, exported model
logs/NAMESPACE/POD.log           what pods printed
pods/                            scratch of pods that run
NAME.yaml                        manifests that were made for a folder of images
"""

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oarlock.local.full_disks import is_full

DEFAULT_RUNS = Path("oarlock-runs")


class UnusableFolderError(Exception):
    """Nothing can be kept in a folder."""

    def __init__(self, folder: Path, why: str) -> None:
        super().__init__(f"--runs must name a folder that can be written, got {folder} ({why}): name another one")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunsFolder:
    """The folder of one local cluster."""

    root: Path

    @property
    def store(self) -> Path:
        return self.root / ".cluster"

    @property
    def pods(self) -> Path:
        return self.root / "pods"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def prepare(self) -> None:
        """Make the folder, and keep what is in it out of the user's git repository.

        Raises:
            UnusableFolderError: says why nothing can be kept there.
            OSError: if the disk is full.
        """
        try:
            self._prepare()
        except OSError as error:
            if is_full(error):
                raise
            raise UnusableFolderError(self.root, error.strerror or str(error)) from None

    def _prepare(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        if not os.access(self.root, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        ignore = self.root / ".gitignore"
        if not ignore.exists():
            ignore.write_text("# Made by oarlock run.\n*\n")

    def claim(self, namespace: str, claim: str) -> Path:
        """Return the folder behind a claim of the cluster's own."""
        return self.root / "volumes" / namespace / claim

    def run_folder(self, job: Mapping[str, Any]) -> Path | None:
        """Return the folder with a job's checkpoints, log and export; None before the job was accepted."""
        run = job.get("status", {}).get("run")
        if not run:
            return None
        return self.claim(job["metadata"]["namespace"], run["checkpoints"]["claim"]) / str(job["metadata"]["uid"])

    def link_job(self, job: Mapping[str, Any]) -> Path | None:
        """Return a short name of the folder with a job's results, which leads to it from now on; None if there is none yet."""
        folder = self.run_folder(job)
        if folder is None or not folder.is_dir():
            return None
        metadata = job["metadata"]
        prefix = "" if metadata["namespace"] == "default" else f"{metadata['namespace']}."
        link = self.root / "jobs" / f"{prefix}{metadata['name']}"
        link.parent.mkdir(exist_ok=True)
        fresh = link.with_name(f".{link.name}.partial")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(os.path.relpath(folder, link.parent))
        fresh.replace(link)
        return link
