"""`dataset.json`: what a data set holds and what its files must be.

It carries a checksum of itself, so that every byte of a data set is covered by one. Reading refuses a format that is newer than
this code; fields that a newer writer of the same format added are ignored.
"""

import json
import math
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from oarlock_api.run import content_hash
from oarlock_api.v1alpha1.dataset import Task
from oarlock_api.wire import OpenModel
from oarlock_trainer.errors import DataCorruptError, DataMissingError, StorageError

FORMAT_VERSION = 1
"""Raised when a reader of the version before would misunderstand."""

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
    """SHA-256 of the labels and pixels alone: the same whichever Arrow version wrote the file."""


class FileFacts(OpenModel):
    """A file beside the shards."""

    file: str
    """Name within the data set's folder."""
    sha256: str
    """Checksum of the file."""


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
    """Class names; a label is an index into them."""
    sample_shape: tuple[int, int, int]
    """Height, width, channels."""
    columns: list[dict[str, Any]]
    """The Arrow schema in words: name, type and shape of each column."""
    counts: dict[str, int]
    """Samples per split."""
    class_counts: dict[str, list[int]]
    """Samples per split and class, in the order of `classes`."""
    shards: dict[str, list[ShardFacts]]
    """Files per split, in row order."""
    mean: list[float]
    """Mean of each channel over the training split, from 0 to 255."""
    std: list[float]
    """Standard deviation of each channel over the training split, in the same unit."""
    mean_image: FileFacts
    """Mean over the training split, float32 of shape `sample_shape`, as a .npy file."""
    rejects: list[Reject] = Field(default_factory=list)
    """Every file of the source that was refused, and why."""
    ignored: dict[str, int] = Field(default_factory=dict)
    """Files of the source whose names are not those of images, counted by ending."""
    made_from: dict[str, Any] = Field(default_factory=dict)
    """Source, layout, split and image format of the Dataset that was imported."""

    @property
    def bytes(self) -> int:
        """Size of all shards."""
        return sum(shard.bytes for shards in self.shards.values() for shard in shards)


def compute_version(
    *, task: Task, classes: list[str], sample_shape: tuple[int, int, int], shards: dict[str, list[ShardFacts]]
) -> str:
    """Return the hash of the content: classes, shape, and every sample in its order. Pure."""
    content = {split: [[shard.samples, shard.content] for shard in parts] for split, parts in shards.items()}
    return content_hash(
        {
            "formatVersion": FORMAT_VERSION,
            "task": task,
            "classes": classes,
            "sampleShape": list(sample_shape),
            "content": content,
        }
    )


def describe_columns(sample_shape: tuple[int, int, int]) -> list[dict[str, Any]]:
    """Return the Arrow schema in words."""
    return [
        {"name": "image", "type": f"fixed_size_list<uint8>[{math.prod(sample_shape)}]", "shape": list(sample_shape)},
        {"name": "label", "type": "int32", "shape": []},
    ]


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
        return DatasetManifest.from_wire(wire)
    except ValidationError as error:
        raise _corrupt(path, f"{error.error_count()} fields are wrong, first {error.errors()[0]['loc']}") from error


def _corrupt(path: Path, finding: str) -> DataCorruptError:
    return DataCorruptError(
        f"{path} is damaged: {finding}",
        remedy="delete the folder of this data set version and import the Dataset again",
    )
