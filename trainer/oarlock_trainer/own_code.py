"""Which code of the user's own a process computes with: its source files and their digests, by name.

The code is no part of a run's description, and may be another one in the next attempt: a ConfigMap that was edited, an image with
the same tag. Checkpoints keep the digests, so that a run that resumes can say what has changed. Nothing here imports or judges it.
"""

import hashlib
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

_OURS = frozenset({"oarlock_trainer", "oarlock_api"})
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_STANDARD_LIBRARY = tuple({Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")})


def digest_code(module: str, *, folder: Path | None, loaded: Mapping[str, ModuleType] = sys.modules) -> dict[str, str]:
    """Return the SHA-256 of every source file of the user's own, by its path below the folder that it is imported from.

    These are all files of `folder`, and the modules that were imported up to now from where `module` lies: of an installed
    package, its own alone. What has no file of source, as a compiled extension or what is in an archive, is not looked at.

    Args:
        module: the module with the model's factory, or `__main__` for a program.
        folder: that of `spec.code`, if there is one.
        loaded: all modules by name.
    """
    files = {**_list_imported(module, loaded), **_list_folder(folder)}
    return {name: digest for name, path in sorted(files.items()) if (digest := _digest(path))}


def _list_folder(folder: Path | None) -> dict[str, Path]:
    """Return the files of a ConfigMap; what begins with two dots is how the kubelet swaps them."""
    if folder is None or not folder.is_dir():
        return {}
    return {path.name: path for path in folder.iterdir() if not path.name.startswith("..") and path.is_file()}


def _list_imported(module: str, loaded: Mapping[str, ModuleType]) -> dict[str, Path]:
    entry = loaded.get(module)
    source = _find_source(entry) if entry is not None else None
    if entry is None or source is None:
        return {}
    name = entry.__spec__.name if entry.__spec__ is not None else module
    root = source.parents[name.count(".") + (source.name == "__init__.py")]
    found = [source, *(path for other, path in _list_sources(loaded) if _belongs(other, path, root=root, to=name))]
    return {path.relative_to(root).as_posix(): path for path in found}


def _belongs(name: str, path: Path, *, root: Path, to: str) -> bool:
    """Say whether a module is of the same package as another below `root`, or lies beside it in a folder of the user's own."""
    if not path.is_relative_to(root):
        return False
    is_installed = not _INSTALLED.isdisjoint(root.parts)
    return name.partition(".")[0] == to.partition(".")[0] or not (is_installed or _is_foreign(path, root))


def _list_sources(loaded: Mapping[str, ModuleType]) -> Iterator[tuple[str, Path]]:
    for name, module in list(loaded.items()):
        source = _find_source(module)
        if source is not None and name.partition(".")[0] not in _OURS:
            yield name, source


def _find_source(module: object) -> Path | None:
    """Return where a module's source is; some things among the modules are none, or make their attributes when asked."""
    file = vars(module).get("__file__") if isinstance(module, ModuleType) else None
    path = Path(file) if isinstance(file, str) else None
    return path if path is not None and path.is_absolute() and path.suffix == ".py" else None


def _is_foreign(path: Path, root: Path) -> bool:
    """Say whether what lies below the user's own folder is another's: libraries of an environment in it, caches, Python itself."""
    below = path.relative_to(root).parts
    is_hidden = any(part in _INSTALLED or part.startswith(".") for part in below)
    return is_hidden or any(path.is_relative_to(folder) for folder in _STANDARD_LIBRARY)


def _digest(path: Path) -> str:
    """Return the file's SHA-256; empty if it cannot be read: then nobody knows whether it has changed."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
