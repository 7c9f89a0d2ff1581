"""The layout with images in one folder and masks, or other images, of the same names in another; or images for themselves."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np

from oarlock_api.v1alpha1.dataset import PairsLayout
from oarlock_trainer.datasets import Reject
from oarlock_trainer.errors import DataMissingError, StorageError
from oarlock_trainer.importing.folders import IMAGE_FILES, FileKind, find_files, printable
from oarlock_trainer.importing.plain_files import resolve_inside
from oarlock_trainer.importing.samples import FileSamples, Listing, PairSamples
from oarlock_trainer.importing.split_folders import SplitFolder

UNPAIRED = "masks without an image"


def list_pairs(source: Path, layout: PairsLayout, folders: list[SplitFolder], *, beat: Callable[[], None]) -> Listing:
    """List the images, each with its partner if the layout has a folder for these.

    Raises:
        DataMissingError: if a folder is missing or holds no images.
        StorageError: if it cannot be read.
    """
    paths: list[str] = []
    partners: list[str] = []
    given: list[int] = []
    rejects: list[Reject] = []
    ignored: Counter[str] = Counter()
    unpaired = 0
    for folder in folders:
        images = list_stems(source, folder.inner(layout.images), IMAGE_FILES, ignored=ignored, beat=beat)
        masks = {} if layout.masks is None else list_stems(source, folder.inner(layout.masks), IMAGE_FILES, beat=beat)
        for stem, found in images.items():
            reason = find_unpaired(found, masks.get(stem, []), folder=layout.masks)
            if reason:
                rejects.append(Reject(path=printable(found[0]), reason=reason))
                continue
            paths.append(found[0])
            partners += masks.get(stem, [])
            given.append(folder.split)
        unpaired += len(masks.keys() - images.keys())
    return Listing(
        classes=[],
        samples=FileSamples(root=source, paths=paths)
        if layout.masks is None
        else PairSamples(root=source, paths=paths, partners=partners),
        labels=np.zeros(len(paths), dtype=np.int32),
        given=np.array(given, dtype=np.int8),
        ignored=dict(ignored),
        rejects=rejects,
        remarks={UNPAIRED: unpaired} if unpaired else {},
    )


def find_unpaired(images: list[str], partners: list[str], *, folder: str | None) -> str:
    """Return why an image cannot be paired; nothing as a rule."""
    if len(images) > 1:
        return f"another image has the same name: {printable(images[1])}"
    if folder is None or len(partners) == 1:
        return ""
    stem = printable(PurePosixPath(images[0]).stem)
    if partners:
        return f"{len(partners)} files in {folder} have its name: {', '.join(map(printable, partners[:3]))}"
    return f"there is no {stem} in {folder}"


def list_stems(
    source: Path,
    folder: str,
    kind: FileKind,
    *,
    ignored: Counter[str] | None = None,
    beat: Callable[[], None],
) -> dict[str, list[str]]:
    """Return the files of a kind below a folder by their names without ending, sorted; paths are relative to the source.

    Raises:
        DataMissingError: if there is no such folder, or no file in it.
        StorageError: if it cannot be read.
    """
    root = resolve_inside(source, folder)
    if not root.is_dir():
        finding = "is a file, not a folder" if root.exists() else "does not exist"
        raise DataMissingError(f"{root} {finding}", remedy="check spec.layout and spec.source of the Dataset")
    try:
        counted: Counter[str] = Counter() if ignored is None else ignored
        found = sorted(find_files(source, folder, kind=kind, ignored=counted, beat=beat))
    except OSError as error:
        raise StorageError.from_os_error(
            error, doing=f"listing the {kind.noun}", path=error.filename or root
        ) from error
    if not found:
        endings = ", ".join(sorted(kind.endings))
        raise DataMissingError(f"{root} holds no {kind.noun} ({endings})", remedy="check spec.layout of the Dataset")
    stems: dict[str, list[str]] = {}
    for path in found:
        stems.setdefault(path[len(folder) :].rpartition(".")[0], []).append(path)
    return stems
