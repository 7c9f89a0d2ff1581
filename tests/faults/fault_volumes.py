"""Faults of data and volumes, for the real trainer in a real agent: a data set and checkpoints on volumes that are damaged or full.

Every part of it needs only files, except the full and the read-only volume, which root must mount.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.fault_pods import Scene
from importing.lost_files import make_unreadable
from training.small_runs import make_run, write_small_dataset

_STEPS = 12
_SMALL = "128k"


def make_volume_scenes(root: Path) -> dict[str, Scene]:
    """Return the scenes that need no mounts; each has a data set of its own below `root`."""
    data = root / "data"
    version = write_small_dataset(data)
    return {
        "loss-not-finite": _scene(data, version, recipe={"optimizer": {"name": "sgd", "learningRate": 1e6}}),
        "data-corrupt": _scene(_flip_shard(shutil.copytree(data, root / "flipped")), version),
        "data-unreadable": _scene(_refuse_shard(shutil.copytree(data, root / "refused")), version, rank="read-rows"),
        "data-cut-off": _scene(_open_up(shutil.copytree(data, root / "cut")), version, rank="cut-file"),
        "data-reader-ended": Scene(nodes={0: "lose-reader"}),
        "data-missing": _scene(root / "nowhere", version),
        "data-of-another-version": _scene(data, "0123456789abcdef"),
        "checkpoints-all-damaged": _scene(data, version, run_dir=_write_damaged_checkpoint(root / "damaged")),
    }


def make_small_scene(root: Path, volume: Path) -> Scene:
    """Return a scene whose checkpoints go to `volume`."""
    version = write_small_dataset(root / "small-data")
    return _scene(root / "small-data", version, run_dir=volume / "run")


def _scene(
    data: Path,
    version: str,
    *,
    recipe: dict[str, object] | None = None,
    run_dir: Path | None = None,
    rank: str = "trainer",
) -> Scene:
    run = make_run(version, model="mlp", steps=_STEPS, recipe={"compile": "off", **(recipe or {})})
    variables = {"RUN": json.dumps(run.to_wire()), "DATA_DIR": str(data)}
    return Scene(nodes={0: rank}, variables={**variables, **({"RUN_DIR": str(run_dir)} if run_dir else {})})


def _flip_shard(data: Path) -> Path:
    shard = next(path for path in sorted(data.rglob("*.arrow")) if "train" in path.name)
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.chmod(0o644)
    shard.write_bytes(content)
    return data


def _refuse_shard(data: Path) -> Path:
    make_unreadable(data, "train-00000.arrow")
    return data


def _open_up(data: Path) -> Path:
    (data / "train-00000.arrow").chmod(0o644)
    return data


def _write_damaged_checkpoint(run_dir: Path) -> Path:
    folder = run_dir / "checkpoints" / "step-000000005"
    folder.mkdir(parents=True)
    (folder / "oarlock.json").write_text('{"step": 5, "att')
    return run_dir


@contextmanager
def mounted_volume(folder: Path, *, read_only: bool) -> Iterator[Path | None]:
    """Mount a tiny or a read-only volume; None where that is not allowed."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "ro" if read_only else f"size={_SMALL}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def memory_limit(name: str, *, limit: int) -> Iterator[tuple[str, ...] | None]:
    """Make a memory cgroup, and yield the command line that starts a process in it, which sees it as a container does.

    None where root, cgroup v1 or mount namespaces are lacking.
    """
    group = Path("/sys/fs/cgroup/memory") / name
    enter = f'echo $$ > {group}/cgroup.procs && mount --bind {group} {group.parent} && exec "$@"'
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(limit))
        subprocess.run(["unshare", "-m", "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        yield None
        return
    try:
        yield ("unshare", "-m", "--propagation", "private", "sh", "-c", enter, "sh")
    finally:
        group.rmdir()
