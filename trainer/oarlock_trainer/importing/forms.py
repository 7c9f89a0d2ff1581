"""What every sample of an import becomes: how one is read, and the columns that it fills.

A form holds all that decides what its samples become, so that a shard that was finished before can be told from one that must be made
again. Runs in any process.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from numpy.typing import NDArray

from oarlock_api.v1alpha1.dataset import Task
from oarlock_trainer.datasets import Columns, Reject, Tokenizer
from oarlock_trainer.datasets.columns import BOX_VALUES, choose_columns
from oarlock_trainer.importing.boxes import place_boxes
from oarlock_trainer.importing.class_map import ClassMap
from oarlock_trainer.importing.folders import printable
from oarlock_trainer.importing.images import DECODER_VERSION, PixelFormat, decode_image, decode_sized_image
from oarlock_trainer.importing.masks import decode_mask
from oarlock_trainer.importing.samples import BoxSamples, FileSamples, PairSamples, Samples, SpooledTexts
from oarlock_trainer.importing.source_files import UnreadableSampleError, read_source_file
from oarlock_trainer.importing.texts import NOT_UTF_8, read_spooled, read_text

MOST_VALUES = 256
"""Classes of masks without a class map: which of them there are is known when all have been read."""

Row = tuple[NDArray[Any], NDArray[Any] | None]
"""Input and target of one sample; None: the target is the sample's label, or the input itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Notes:
    """What was found beside the samples."""

    flaws: list[Reject] = field(default_factory=list)
    """Parts of samples that are left out, such as boxes without an area."""
    remarks: Counter[str] = field(default_factory=Counter)


class SampleForm(Protocol):
    """One way in which samples are stored."""

    @property
    def task(self) -> Task:
        """What is learned from them."""
        ...

    @property
    def columns(self) -> Columns:
        """What a sample consists of."""
        ...

    @property
    def classes(self) -> int:
        """Classes that may occur in the targets; 0: there are none."""
        ...

    @property
    def key(self) -> str:
        """All that decides what a file becomes."""
        ...

    def read(self, samples: Samples, position: int, notes: Notes) -> Row:
        """Return one sample.

        Raises:
            UnreadableSampleError: if it cannot be part of the data set.
            SourceReadError: if the source's volume is in trouble.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageForm:
    """Images, with their labels or for themselves."""

    pixels: PixelFormat
    classes: int
    """0: the images are their own targets."""

    @property
    def task(self) -> Task:
        return Task.IMAGE_CLASSIFICATION if self.classes else Task.IMAGE_TO_IMAGE

    @property
    def columns(self) -> Columns:
        return choose_columns(self.task, self.pixels.shape, () if self.classes else None)

    @property
    def key(self) -> str:
        return f"{DECODER_VERSION} {self.pixels}"

    def read(self, samples: Samples, position: int, notes: Notes) -> Row:  # noqa: ARG002  # nothing to note of an image
        samples = cast("FileSamples", samples)
        return decode_image(read_source_file(f"{samples.root}/{samples.paths[position]}"), self.pixels), None


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskForm:
    """Images with masks."""

    pixels: PixelFormat
    class_map: ClassMap

    @property
    def task(self) -> Task:
        return Task.SEGMENTATION

    @property
    def columns(self) -> Columns:
        return choose_columns(self.task, self.pixels.shape, (self.pixels.height, self.pixels.width))

    @property
    def classes(self) -> int:
        return len(self.class_map.classes) or MOST_VALUES

    @property
    def key(self) -> str:
        return f"{DECODER_VERSION} {self.pixels} {self.class_map}"

    def read(self, samples: Samples, position: int, notes: Notes) -> Row:  # noqa: ARG002  # nothing to note of a mask
        samples = cast("PairSamples", samples)
        content = read_source_file(f"{samples.root}/{samples.paths[position]}")
        image, size = decode_sized_image(content, self.pixels)
        mask = samples.partners[position]
        try:
            content = read_source_file(f"{samples.root}/{mask}")
            return image, decode_mask(content, self.pixels, self.class_map, image_size=size)
        except UnreadableSampleError as error:
            raise UnreadableSampleError(f"{printable(mask)}: {error}") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureForm:
    """Images with the images that they are to become."""

    pixels: PixelFormat

    @property
    def task(self) -> Task:
        return Task.IMAGE_TO_IMAGE

    @property
    def columns(self) -> Columns:
        return choose_columns(self.task, self.pixels.shape, self.pixels.shape)

    @property
    def classes(self) -> int:
        return 0

    @property
    def key(self) -> str:
        return f"{DECODER_VERSION} {self.pixels}"

    def read(self, samples: Samples, position: int, notes: Notes) -> Row:  # noqa: ARG002  # nothing to note of an image
        samples = cast("PairSamples", samples)
        image = decode_image(read_source_file(f"{samples.root}/{samples.paths[position]}"), self.pixels)
        target = samples.partners[position]
        try:
            return image, decode_image(read_source_file(f"{samples.root}/{target}"), self.pixels)
        except UnreadableSampleError as error:
            raise UnreadableSampleError(f"{printable(target)}: {error}") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class BoxForm:
    """Images with boxes."""

    pixels: PixelFormat
    classes: int
    most: int
    """Boxes of one image at most."""

    @property
    def task(self) -> Task:
        return Task.OBJECT_DETECTION

    @property
    def columns(self) -> Columns:
        return choose_columns(self.task, self.pixels.shape, (self.most, BOX_VALUES))

    @property
    def key(self) -> str:
        return f"{DECODER_VERSION} {self.pixels} {self.classes} {self.most}"

    def read(self, samples: Samples, position: int, notes: Notes) -> Row:
        samples = cast("BoxSamples", samples)
        content = read_source_file(f"{samples.root}/{samples.paths[position]}")
        image, size = decode_sized_image(content, self.pixels)
        placed = place_boxes(samples.boxes[position], image_size=size, form=self.pixels, most=self.most)
        source = printable(samples.sources[position])
        notes.flaws.extend(Reject(path=source, reason=flaw) for flaw in placed.flaws)
        notes.remarks.update(placed.remarks)
        return image, placed.rows


@dataclass(frozen=True, kw_only=True, slots=True)
class TextForm:
    """Texts with their labels."""

    tokenizer: Tokenizer
    classes: int

    @property
    def task(self) -> Task:
        return Task.TEXT_CLASSIFICATION

    @property
    def columns(self) -> Columns:
        return choose_columns(self.task, (self.tokenizer.length,))

    @property
    def key(self) -> str:
        words = hashlib.sha256("\n".join(self.tokenizer.words).encode()).hexdigest()
        return f"{self.tokenizer.tokens} {self.tokenizer.length} {words}"

    def read(self, samples: Samples, position: int, notes: Notes) -> Row:
        if isinstance(samples, SpooledTexts):
            return self.tokenizer.encode(read_spooled(samples, position)), None
        samples = cast("FileSamples", samples)
        text, is_utf_8 = read_text(f"{samples.root}/{samples.paths[position]}")
        if not is_utf_8:
            notes.remarks[NOT_UTF_8] += 1
        return self.tokenizer.encode(text), None
