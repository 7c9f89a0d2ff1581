"""The layout with one folder per class: finds the classes and their files.

`scan_folders` needs the standard library alone, so that the `oarlock` command can look at a folder before anything else is there.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from oarlock_trainer.errors import ConfigError, DataMissingError, StorageError

IMAGE_ENDINGS = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".dib", ".gif", ".pbm", ".pgm", ".ppm", ".pnm", ".tif", ".tiff", ".webp"}
)
"""Endings of file names that are read as images, in any case."""
TEXT_ENDINGS = frozenset({".txt", ".text"})

_SPLIT_NAMES = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})
_SHOWN = 5
_NOT_UTF_8 = re.compile("[\ud800-\udfff]")
"""Bytes of file names that are no text, as Python reads them, and the halves of characters that JSON can hold."""
_NO_BEAT: Callable[[], None] = lambda: None  # noqa: E731  # a default that does nothing


@dataclass(frozen=True, kw_only=True, slots=True)
class FileKind:
    """Files that are samples, by their names."""

    noun: str
    """What people call them."""
    endings: frozenset[str]

    def includes(self, name: str) -> bool:
        """Whether a file of this name is one."""
        return os.path.splitext(name)[1].lower() in self.endings  # noqa: PTH122  # a hot loop


IMAGE_FILES = FileKind(noun="images", endings=IMAGE_ENDINGS)
TEXT_FILES = FileKind(noun="texts", endings=TEXT_ENDINGS)


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderScan:
    """What one folder of class folders holds."""

    root: Path
    classes: dict[str, list[str]]
    """Files of each class, relative to `root`, sorted; classes sorted by name."""
    ignored: dict[str, int]
    """Files that are not samples by their names, counted by ending."""

    @property
    def count(self) -> int:
        return sum(len(paths) for paths in self.classes.values())


def scan_folders(
    root: Path, *, kind: FileKind = IMAGE_FILES, may_be_empty: bool = False, beat: Callable[[], None] = _NO_BEAT
) -> FolderScan:
    """Find the class folders in `root` and the files in each, however deep; links are followed, hidden names are not.

    `may_be_empty` allows class folders without files, as in the folder of a validation split. `beat` is called per folder.

    Raises:
        DataMissingError: if the folder, its class folders or their files are missing.
        ConfigError: if the folder is laid out in another way.
        StorageError: if it cannot be read.
    """
    if not root.is_dir():
        finding = "is a file, not a folder" if root.exists() else "does not exist"
        raise DataMissingError(
            f"{root} {finding}", remedy=f"name a folder that holds one folder of {kind.noun} per class"
        )
    try:
        folders, loose = _list_top(root, kind)
        ignored: Counter[str] = Counter()
        classes = {name: sorted(find_files(root, name, kind=kind, ignored=ignored, beat=beat)) for name in folders}
    except OSError as error:
        raise StorageError.from_os_error(
            error, doing=f"listing the {kind.noun}", path=error.filename or root
        ) from error
    _check_top(root, folders, loose, kind)
    empty = [name for name, paths in classes.items() if not paths]
    if empty and not may_be_empty:
        raise _no_files(root, empty, ignored, kind)
    return FolderScan(root=root, classes=classes, ignored=dict(sorted(ignored.items())))


def _list_top(root: Path, kind: FileKind) -> tuple[list[str], list[str]]:
    """Return the folders and the files of that kind right in `root`."""
    with os.scandir(root) as found:
        entries = sorted((entry.name, entry.is_dir()) for entry in found if not _is_hidden(entry.name))
    return [name for name, folder in entries if folder], [n for n, folder in entries if not folder and kind.includes(n)]


def find_files(
    root: Path, folder: str, *, kind: FileKind, ignored: Counter[str], beat: Callable[[], None]
) -> Iterator[str]:
    """Yield the files of a kind below a folder, relative to `root`; count the other files.

    Raises:
        OSError: if a folder cannot be read.
    """
    seen: set[tuple[int, int]] = set()
    pending = [folder]
    while pending:
        current = pending.pop()
        beat()
        status = (root / current).stat()
        if (status.st_dev, status.st_ino) in seen:  # a link that leads back up
            continue
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(root / current) as found:
            for entry in found:
                path = f"{current}/{entry.name}"
                if _is_hidden(entry.name):
                    continue
                if entry.is_dir():
                    pending.append(path)
                elif kind.includes(entry.name):
                    yield path
                else:
                    ignored[printable(os.path.splitext(entry.name)[1].lower()) or "no ending"] += 1  # noqa: PTH122  # a hot loop


def printable(name: str) -> str:
    """Return a name with what is not UTF-8 in it replaced, so that it can be printed and written as JSON."""
    return _NOT_UTF_8.sub("\N{REPLACEMENT CHARACTER}", name)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _check_top(root: Path, folders: list[str], loose: list[str], kind: FileKind) -> None:
    odd = [name for name in folders if printable(name) != name]
    if odd:
        raise ConfigError(f"names of class folders in {root} are not UTF-8: {_show(odd)}", remedy="rename them")
    if loose and not folders:
        raise ConfigError(
            f"{root} holds {len(loose):,} {kind.noun} but no class folders",
            remedy=f"make one folder per class in it, named after the class, and move the {kind.noun} there",
        )
    if not folders:
        raise DataMissingError(
            f"{root} holds no class folders", remedy=f"name a folder that holds one folder of {kind.noun} per class"
        )
    if loose:
        raise ConfigError(
            f"{root} holds {kind.noun} beside the class folders: {_show(loose)}",
            remedy="move them into the folders of their classes, or out of the source",
        )
    if {name.lower() for name in folders} <= _SPLIT_NAMES and _has_folders(root / folders[0]):
        raise ConfigError(
            f"the folders in {root} are splits, not classes: {_show(folders)}",
            remedy="name them in spec.split.folders, as train, validation and test",
        )
    if len(folders) == 1:
        raise _one_class(root, folders[0])


def _one_class(root: Path, folder: str) -> ConfigError:
    if _has_folders(root / folder):
        return ConfigError(
            f"{root} holds a single folder, {folder!r}, which holds folders itself",
            remedy=f"if these are the classes, name {root / folder} as the source",
        )
    return ConfigError(
        f"{root} holds a single class, {folder!r}",
        remedy="add at least one more class folder: there is nothing to tell apart",
    )


def _no_files(root: Path, empty: list[str], ignored: Counter[str], kind: FileKind) -> DataMissingError:
    found = (
        f"; files with other endings: {_show([f'{n:,} {ending}' for ending, n in ignored.items()])}" if ignored else ""
    )
    return DataMissingError(
        f"class folders without {kind.noun} in {root}: {_show(empty)}{found}",
        remedy=f"add {kind.noun} ({', '.join(sorted(kind.endings))}) or remove the folders",
    )


def _has_folders(folder: Path) -> bool:
    with os.scandir(folder) as found:
        return any(entry.is_dir() and not _is_hidden(entry.name) for entry in found)


def _show(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(map(printable, names[:_SHOWN])) + more
