"""The pixels of a table, unpacked into one plain file that every worker can map: what makes memory use independent of its size."""

from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from oarlock_trainer.importing.samples import TableSamples
from oarlock_trainer.importing.space import storage_errors

SPOOL_NAME = "pixels.spool"


class Spool:
    """Written image by image, then read by rows."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / SPOOL_NAME
        self._count = 0
        with storage_errors(folder, doing="unpacking the images"):
            self._file = self.path.open("wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, images: NDArray[np.uint8]) -> None:
        """Add images [N, ...].

        Raises:
            StorageError: if they do not fit on the volume.
        """
        with storage_errors(self.path.parent, doing="unpacking the images"):
            self._file.write(np.ascontiguousarray(images).data)
        self._count += len(images)

    def samples(self, *, height: int, width: int) -> TableSamples:
        """Return all images written so far; the file is complete when the spool is closed."""
        return TableSamples(file=self.path, height=height, width=width, rows=np.arange(self._count))


def map_spool(samples: TableSamples) -> NDArray[np.uint8]:
    """Return all images [N, H, W] of the file, as a view of it."""
    flat = np.memmap(samples.file, dtype=np.uint8, mode="r")
    return flat.reshape(-1, samples.height, samples.width)
