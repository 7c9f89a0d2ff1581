"""Where a program's process stands: which run, which attempt, which rank, which folders. A value."""

from dataclasses import dataclass
from pathlib import Path

from oarlock_api.run import ScriptRun


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """What the environment says of the run and of this process."""

    run: ScriptRun
    job_uid: str
    attempt: int
    run_dir: Path
    data_dir: Path | None
    code_dir: Path | None
    """Folder with the files of `spec.code`, if the job has some."""
    rank: int
    local_rank: int
    launched: bool
    """Whether torchrun started this process."""
