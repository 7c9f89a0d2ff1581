"""The folder where built or downloaded binaries stay between test runs, and the lock that makes two runs build once."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def find_cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "oarlock"


def find_versions_folder() -> Path:
    return find_cache_folder() / "control-plane"


@contextmanager
def hold_lock(path: Path, *, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold a lock between processes; the kernel releases it when its holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if on_wait:
                on_wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def swap_into_place(finished: Path, target: Path) -> None:
    """Give a finished folder its final name, so that nobody ever sees half of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        retired = finished.with_name(f"{target.name}.retired")
        target.rename(retired)
        finished.rename(target)
        shutil.rmtree(retired)
    else:
        finished.rename(target)


MANIFEST = "manifest.json"


def write_manifest(folder: Path, *, version: str, origin: str, seconds: float) -> None:
    """Mark a folder of binaries as complete, and tell where they came from and how long that took."""
    manifest = {"version": version, "origin": origin, "seconds": round(seconds, 1)}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
