"""The folder of one running control plane. It holds a lock for as long as its owner lives, so that the next start can
tell the folder of a killed test run from that of a running one, and remove it."""

import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import IO

from control_plane import cache

_MEMORY = Path("/dev/shm")
_LEAST_MEMORY = 512 * 2**20
_LOCK = "owner.lock"


class RunFolder:
    """A fresh folder, in memory where there is room; `remove` takes it away."""

    def __init__(self) -> None:
        with cache.hold_lock(_sweep_lock()):
            self.path = Path(tempfile.mkdtemp(prefix=_prefix(), dir=_choose_base()))
            self._lock: IO[str] = (self.path / _LOCK).open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def sweep_dead() -> list[Path]:
    """Remove the folders whose owners are gone, and return them."""
    with cache.hold_lock(_sweep_lock()):
        dead = [folder for folder in find_all() if _is_dead(folder)]
        for folder in dead:
            shutil.rmtree(folder, ignore_errors=True)
    return dead


def find_all() -> list[Path]:
    return [folder for base in _bases() for folder in base.glob(f"{_prefix()}*") if folder.is_dir()]


def _is_dead(folder: Path) -> bool:
    try:
        with (folder / _LOCK).open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        return True
    return True


def _choose_base() -> Path:
    in_memory = os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _LEAST_MEMORY
    return _MEMORY if in_memory else Path(tempfile.gettempdir())


def _bases() -> set[Path]:
    return {_MEMORY, Path(tempfile.gettempdir())}


def _prefix() -> str:
    return f"oarlock-control-plane-{os.getuid()}-"


def _sweep_lock() -> Path:
    return cache.find_cache_folder() / "run-folders.lock"
