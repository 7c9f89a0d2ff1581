"""`dataset.json`: what a data set holds and what its files must be.

It carries a checksum of itself, so that every byte of a data set is covered by one. Reading refuses a format that is newer than
this code; fields that a newer writer of the same format added are ignored.
"""

import json
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from oarlock_api.run import content_hash
from oarlock_api.v1alpha1.dataset import Task, Tokens
from oarlock_api.wire import OpenModel
from oarlock_trainer.datasets.columns import Column, Columns, choose_columns
from oarlock_trainer.errors import DataCorruptError, DataMissingError, StorageError

FORMAT_VERSION = 2
"""Raised when a reader of the version before would misunderstand. Version 1 knew labelled images alone."""

MANIFEST_NAME = "dataset.json"


class ShardFacts(OpenModel):
    """One Arrow file."""

    file: str
    """Name within the data set's folder."""
    samples: int
    """Rows."""
    bytes: int
    """Size of the file."""
    sha256: str
    """Checksum of the file, as `sha256sum` prints it."""
    content: str
    """SHA-256 of the targets and inputs alone: the same whichever Arrow version wrote the file."""


class FileFacts(OpenModel):
    """A file beside the shards."""

    file: str
    """Name within the data set's folder."""
    sha256: str
    """Checksum of the file."""


class VocabularyFacts(OpenModel):
    """What the numbers of a text mean."""

    tokens: Tokens
    """What a text is divided into."""
    size: int
    """Different numbers that there may be, padding and unknown included."""
    words: FileFacts | None = None
    """The words by number, one a line; absent: a number is a byte of UTF-8 and 2."""


class Reject(OpenModel):
    """A file of the source that is not in the data set."""

    path: str
    """Relative to the source."""
    reason: str
    """What was found."""


class DatasetManifest(OpenModel):
    """All that is known of a data set without opening a shard."""

    format_version: int = FORMAT_VERSION
    """Version of the format on disk."""
    version: str
    """Hash of the content: equal content, equal version."""
    task: Task
    """What is learned from it."""
    classes: list[str]
    """Class names; a label, a pixel of a mask and a box's class are indexes into them."""
    input: Column
    """What goes into a model: images [height, width, channels], or texts [length]."""
    target: Column | None = None
    """What it is to say about it; absent: the input itself."""
    counts: dict[str, int]
    """Samples per split."""
    class_counts: dict[str, list[int]]
    """What there is per split and class, in the order of `classes`: samples; for segmentation pixels, for detection boxes."""
    shards: dict[str, list[ShardFacts]]
    """Files per split, in row order."""
    mean: list[float] = Field(default_factory=list)
    """Mean of each channel over the images of the training split, from 0 to 255."""
    std: list[float] = Field(default_factory=list)
    """Standard deviation of each channel over the training split, in the same unit."""
    mean_image: FileFacts | None = None
    """Mean over the training split, float32 of the input's shape, as a .npy file; absent for texts."""
    vocabulary: VocabularyFacts | None = None
    """What the numbers of a text mean; absent for images."""
    rejects: list[Reject] = Field(default_factory=list)
    """Every file of the source that was refused, and why."""
    ignored: dict[str, int] = Field(default_factory=dict)
    """Files of the source whose names are not those of samples, counted by ending."""
    remarks: dict[str, int] = Field(default_factory=dict)
    """What the import left out or read in another way, counted by what it was."""
    made_from: dict[str, Any] = Field(default_factory=dict)
    """Source, layout, split and format of the Dataset that was imported."""

    @property
    def bytes(self) -> int:
        """Size of all shards."""
        return sum(shard.bytes for shards in self.shards.values() for shard in shards)

    @property
    def columns(self) -> Columns:
        """What a sample consists of."""
        return Columns(input=self.input, target=self.target)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of an input: height, width, channels; or the length of a text."""
        return self.input.shape


def compute_version(
    *,
    task: Task,
    classes: list[str],
    columns: Columns,
    shards: dict[str, list[ShardFacts]],
    vocabulary: VocabularyFacts | None = None,
) -> str:
    """Return the hash of the content: classes, form, and every sample in its order. Pure."""
    content = {split: [[shard.samples, shard.content] for shard in parts] for split, parts in shards.items()}
    form: dict[str, Any] = {"formatVersion": FORMAT_VERSION, "columns": [part.to_wire() for part in columns.stored]}
    if vocabulary is not None:
        form["vocabulary"] = vocabulary.to_wire()
    if task is Task.IMAGE_CLASSIFICATION:
        # As format 1 had it, so that the same images stay the same version: checkpoints name it.
        form = {"formatVersion": 1, "sampleShape": list(columns.input.shape)}
    return content_hash({**form, "task": task, "classes": classes, "content": content})


def render_manifest(manifest: DatasetManifest) -> str:
    """Return the text of `dataset.json`, which ends in a checksum of the rest."""
    wire = manifest.to_wire()
    return json.dumps({**wire, "checksum": content_hash(wire)}, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_manifest(folder: Path) -> DatasetManifest:
    """Read `dataset.json` of a data set.

    Raises:
        DataMissingError: if there is none.
        DataCorruptError: if it is not what was written, or of a newer format.
        StorageError: if it cannot be read.
    """
    path = folder / MANIFEST_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        remedy = "check that the volume of the Dataset is mounted, and import the Dataset again if it is"
        raise DataMissingError(f"there is no data set in {folder}: it has no {MANIFEST_NAME}", remedy=remedy) from error
    except UnicodeDecodeError as error:
        raise _corrupt(path, "it is not text") from error
    except OSError as error:
        raise StorageError.from_os_error(error, doing="reading the data set's description", path=path) from error
    return _parse_manifest(path, text)


def _parse_manifest(path: Path, text: str) -> DatasetManifest:
    try:
        wire = json.loads(text)
    except ValueError as error:
        raise _corrupt(path, f"it is not JSON ({error})") from error
    if not isinstance(wire, dict):
        raise _corrupt(path, "it is not a JSON object")
    found = wire.get("formatVersion")
    if isinstance(found, int) and found > FORMAT_VERSION:
        remedy = "train with the Oarlock version that imported the data set, or import it again with this one"
        raise DataCorruptError(f"{path} is of format {found}; this trainer reads up to {FORMAT_VERSION}", remedy=remedy)
    if wire.pop("checksum", None) != content_hash(wire):
        raise _corrupt(path, "its checksum is wrong")
    try:
        return DatasetManifest.from_wire(_read_format_1(wire) if found == 1 else wire)
    except (ValidationError, KeyError, TypeError) as error:
        fields = (
            f"{error.error_count()} fields are wrong" if isinstance(error, ValidationError) else f"{error} is wrong"
        )
        raise _corrupt(path, fields) from error


def _read_format_1(wire: dict[str, Any]) -> dict[str, Any]:
    """Return the description of labelled images, which format 1 had no names for, as format 2 has it."""
    columns = choose_columns(Task.IMAGE_CLASSIFICATION, tuple(wire["sampleShape"]))
    return wire | {column: part.to_wire() for column, part in zip(("input", "target"), columns.stored, strict=True)}


def _corrupt(path: Path, finding: str) -> DataCorruptError:
    return DataCorruptError(
        f"{path} is damaged: {finding}",
        remedy="delete the folder of this data set version and import the Dataset again",
    )
