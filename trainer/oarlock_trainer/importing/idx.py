"""The layout of the original MNIST: IDX files of images and of labels, gzipped or not."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from oarlock_api.v1alpha1.dataset import IdxLayout
from oarlock_trainer.errors import DataCorruptError
from oarlock_trainer.importing.plain_files import open_plain, resolve_inside
from oarlock_trainer.importing.samples import SPLITS, UNDIVIDED, Listing, index_classes
from oarlock_trainer.importing.spool import Spool

_UNSIGNED_BYTES = 0x08
_CHUNK_BYTES = 8 * 2**20
_COPY = "copy or download the file again"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    images: Path
    labels: Path
    split: int


def list_idx(source: Path, layout: IdxLayout, *, workspace: Path, beat: Callable[[], None]) -> Listing:
    """Unpack the images into the workspace and return what they are.

    Raises:
        DataMissingError: if a file is missing.
        DataCorruptError: if a file is not IDX, is truncated, or does not fit its partner.
    """
    labels: list[NDArray[np.uint8]] = []
    given: list[NDArray[np.int8]] = []
    size: tuple[int, int] | None = None
    with Spool(workspace) as spool:
        for part in _parts(source, layout):
            size = _unpack_images(part.images, spool, size, beat)
            labels.append(_read_labels(part.labels))
            count = len(spool.samples(height=size[0], width=size[1])) - sum(map(len, labels[:-1]))
            _check_counts(part, images=count, labels=len(labels[-1]))
            given.append(np.full(count, part.split, dtype=np.int8))
        height, width = size or (0, 0)
        samples = spool.samples(height=height, width=width)
    classes, indices = index_classes([str(label) for label in np.concatenate(labels).tolist()])
    return Listing(classes=classes, samples=samples, labels=indices, given=np.concatenate(given))


def _parts(source: Path, layout: IdxLayout) -> list[_Part]:
    train = _Part(
        images=resolve_inside(source, layout.images), labels=resolve_inside(source, layout.labels), split=UNDIVIDED
    )
    if not layout.validation_images or not layout.validation_labels:
        return [train]
    return [
        train,
        _Part(
            images=resolve_inside(source, layout.validation_images),
            labels=resolve_inside(source, layout.validation_labels),
            split=SPLITS.index("validation"),
        ),
    ]


def _unpack_images(path: Path, spool: Spool, size: tuple[int, int] | None, beat: Callable[[], None]) -> tuple[int, int]:
    """Append the images of a file to the spool and return their height and width, which must be `size` if there is one."""
    with open_plain(path) as file:
        count, height, width = _read_header(path, file, dimensions=3)
        if size is not None and (height, width) != size:
            raise DataCorruptError(
                f"the images of {path} are {height}x{width}, those for training {size[0]}x{size[1]}",
                remedy="provide validation images of the same size as the training images",
            )
        pixels = height * width
        rows = max(1, _CHUNK_BYTES // pixels)
        for start in range(0, count, rows):
            beat()
            wanted = min(rows, count - start) * pixels
            content = file.read(wanted)
            if len(content) < wanted:
                raise _truncated(path, expected=count * pixels, found=start * pixels + len(content), what="pixels")
            spool.append(np.frombuffer(content, dtype=np.uint8).reshape(-1, pixels))
        _check_end(path, file)
    return height, width


def _read_labels(path: Path) -> NDArray[np.uint8]:
    with open_plain(path) as file:
        (count,) = _read_header(path, file, dimensions=1)
        content = file.read(count)
        if len(content) < count:
            raise _truncated(path, expected=count, found=len(content), what="labels")
        _check_end(path, file)
    return np.frombuffer(content, dtype=np.uint8)


def _read_header(path: Path, file: IO[bytes], *, dimensions: int) -> tuple[int, ...]:
    """Return the sizes of an array of unsigned bytes with that many dimensions."""
    magic = file.read(4)
    if len(magic) < len(b"\0\0\x08\x03") or magic[:2] != b"\0\0":
        raise DataCorruptError(f"{path} is not an IDX file: it begins with {magic.hex(' ') or 'nothing'}", remedy=_COPY)
    kind, found = magic[2], magic[3]
    if kind != _UNSIGNED_BYTES or found != dimensions:
        wanted = "images (unsigned bytes, 3 dimensions)" if dimensions > 1 else "labels (unsigned bytes, 1 dimension)"
        raise DataCorruptError(
            f"{path} is an IDX file of type 0x{kind:02x} with {found} dimensions, where {wanted} are expected",
            remedy="check that images and labels are not exchanged in spec.layout.idx",
        )
    sizes = file.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise DataCorruptError(f"{path} is truncated: it ends within its header", remedy=_COPY)
    shape: tuple[int, ...] = struct.unpack(f">{dimensions}I", sizes)
    if 0 in shape:
        raise DataCorruptError(f"{path} is empty: its sizes are {'x'.join(map(str, shape))}", remedy=_COPY)
    return shape


def _check_end(path: Path, file: IO[bytes]) -> None:
    if file.read(1):
        raise DataCorruptError(f"{path} goes on after the end that its header announces", remedy=_COPY)


def _check_counts(part: _Part, *, images: int, labels: int) -> None:
    if images != labels:
        raise DataCorruptError(
            f"{part.images} holds {images:,} images, but {part.labels} holds {labels:,} labels",
            remedy="name images and labels that belong together in spec.layout.idx",
        )


def _truncated(path: Path, *, expected: int, found: int, what: str) -> DataCorruptError:
    return DataCorruptError(
        f"{path} is truncated: it announces {expected:,} bytes of {what} and holds {found:,}", remedy=_COPY
    )
