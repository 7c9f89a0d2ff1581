"""`oarlock.json`: what a checkpoint is, whose it is, and the size and SHA-256 of every file in it.

Written last, so that its presence says that all else was written; DCP's own `.metadata` proves nothing, since one flipped byte
in a data file loads without a word. No torch here: whatever only lists checkpoints need not import it.
"""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from oarlock_api.contract import CheckpointFacts
from oarlock_api.wire import OpenModel

MANIFEST_NAME = "oarlock.json"
CHECKSUM_KEY = "manifestSha256"
"""Hash of the manifest itself, over its JSON without this key, keys sorted and no spaces."""
FORMAT_VERSION = 1
"""Raised when a trainer of the version before would misread a checkpoint."""


class CorruptCheckpointError(Exception):
    """A checkpoint that is not what was written: the file, what it must be, and what it is."""

    def __init__(self, *, file: Path, expected: str, found: str) -> None:
        super().__init__(f"{file}: expected {expected}, found {found}")


class FileFacts(OpenModel):
    """One file of a checkpoint."""

    name: str
    """Name inside the checkpoint's folder."""
    bytes: int
    """Its size."""
    sha256: str
    """Hash of its content, taken of what was meant to be written, not of what the volume returned."""


class Manifest(OpenModel):
    """The content of `oarlock.json`."""

    format_version: int = FORMAT_VERSION
    """Version of the layout of checkpoints."""
    job_uid: str
    """The job that wrote it."""
    attempt: int
    """Its attempt."""
    training_hash: str
    """Hash of data set version, model and recipe."""
    description: dict[str, Any]
    """The same in full, so that a refusal can name the first difference."""
    step: Annotated[int, Field(ge=0)]
    """Optimizer steps done."""
    steps: int
    """Optimizer steps that the run was to do."""
    position: int
    """Samples consumed."""
    epoch: float
    """Epochs done."""
    metric_name: str
    """The metric by which the best is kept."""
    metric: float | None = None
    """Its value at this step, if validation ran here."""
    finite: bool
    """False: some value is infinite or not a number; never resumed from, never the best."""
    world_size: int
    """Processes that wrote it."""
    time: float
    """Seconds since 1970 at which it was complete."""
    code: dict[str, str] | None = None
    """SHA-256 of each source file of the user's own that computed it, by name; absent: nobody knows, or there were none."""
    files: list[FileFacts]
    """Every other file of the folder."""

    @property
    def total_bytes(self) -> int:
        return sum(file.bytes for file in self.files)

    def to_facts(self, *, path: str) -> CheckpointFacts:
        """Return what the status says of it; `path` is relative to the job's folder."""
        return CheckpointFacts(
            step=self.step, epoch=self.epoch, path=path, bytes=self.total_bytes, time=self.time, metric=self.metric
        )


def encode_manifest(manifest: Manifest) -> bytes:
    wire = manifest.to_wire()
    return json.dumps({**wire, CHECKSUM_KEY: _checksum(wire)}, indent=1, allow_nan=False).encode()


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of the checkpoint in `folder`.

    Raises:
        CorruptCheckpointError: if it is missing, damaged, or of a version that this trainer does not know.
        OSError: if the volume cannot be read.
    """
    file = folder / MANIFEST_NAME
    try:
        wire = json.loads(file.read_bytes())
        claimed, actual = wire.pop(CHECKSUM_KEY), _checksum(wire)
    except FileNotFoundError:
        raise CorruptCheckpointError(file=file, expected="a manifest", found="no such file") from None
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise CorruptCheckpointError(file=file, expected="a JSON object with its checksum", found=repr(error)) from None
    if claimed != actual:
        raise CorruptCheckpointError(file=file, expected=f"SHA-256 {claimed}", found=actual)
    return _parse(wire, file)


def _parse(wire: dict[str, Any], file: Path) -> Manifest:
    version = wire.get("formatVersion", 0)
    if not isinstance(version, int) or version > FORMAT_VERSION:
        expected = f"format version {FORMAT_VERSION} or older"
        raise CorruptCheckpointError(file=file, expected=expected, found=f"{version}, of a newer Oarlock")
    try:
        return Manifest.from_wire(wire)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise CorruptCheckpointError(file=file, expected="a manifest", found=f"{where}: {first['msg']}") from None


def _checksum(wire: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(wire, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
