"""Whether a checkpoint's files are what was written. Reads every byte; no torch."""

from collections.abc import Callable, Iterable
from pathlib import Path

from oarlock_trainer.checkpoints.durability import hash_file
from oarlock_trainer.checkpoints.manifest import CorruptCheckpointError, FileFacts, read_manifest


def find_corruption(folder: Path, files: Iterable[FileFacts], *, on_chunk: Callable[[], None] = lambda: None) -> str:
    """Return the first difference between the files and what is known of them, or nothing if there is none.

    All sizes are compared before the first file is read: a file that was cut short is found at once.
    """
    expected = list(files)
    for file in expected:
        if finding := _compare_size(folder / file.name, file):
            return finding
    for file in expected:
        if finding := _compare_content(folder / file.name, file, on_chunk):
            return finding
    return ""


def find_damage(folder: Path, *, on_chunk: Callable[[], None] = lambda: None) -> str:
    """Return what is wrong with the checkpoint in `folder`, manifest included, or nothing if it is what was written."""
    try:
        return find_corruption(folder, read_manifest(folder).files, on_chunk=on_chunk)
    except CorruptCheckpointError as error:
        return str(error)
    except OSError as error:
        return f"{folder}: expected a readable manifest, found {error.strerror or error}"


def share_of(files: list[FileFacts], *, rank: int, size: int) -> list[FileFacts]:
    """Deal the files to `size` ranks, the largest first, each to the rank that has the fewest bytes."""
    shares: list[list[FileFacts]] = [[] for _ in range(size)]
    for file in sorted(files, key=lambda file: (-file.bytes, file.name)):
        min(shares, key=lambda share: sum(f.bytes for f in share)).append(file)
    return shares[rank]


def _compare_size(path: Path, expected: FileFacts) -> str:
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return f"{path}: expected {expected.bytes} bytes, found no such file"
    except OSError as error:
        return f"{path}: expected {expected.bytes} bytes, found {error.strerror or error}"
    return "" if size == expected.bytes else f"{path}: expected {expected.bytes} bytes, found {size}"


def _compare_content(path: Path, expected: FileFacts, on_chunk: Callable[[], None]) -> str:
    try:
        found = hash_file(path, on_chunk=on_chunk)
    except OSError as error:
        return f"{path}: expected {expected.bytes} readable bytes, found {error.strerror or error}"
    if found == expected:
        return ""
    return f"{path}: expected SHA-256 {expected.sha256[:16]}…, found {found.sha256[:16]}…"
