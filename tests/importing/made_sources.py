"""Sources written by the tests: real image files, tables and IDX files, small enough to be read at a glance."""

import gzip
import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from oarlock_api.contract import DatasetFacts
from oarlock_api.run import ImportRun
from oarlock_api.v1alpha1.dataset import DatasetSpec
from oarlock_trainer.importing.importer import ImportFolders, import_dataset
from oarlock_trainer.importing.progress import ImportProgress
from oarlock_trainer.rank_record import RankRecord


def make_pixels(seed: int, *, height: int = 8, width: int = 8) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)


def encode(image: Image.Image | NDArray[Any], kind: str = "PNG", **options: Any) -> bytes:
    content = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(content, kind, **options)
    return content.getvalue()


def write_class_folders(root: Path, *, classes: tuple[str, ...] = ("cat", "dog"), each: int = 8) -> Path:
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True, exist_ok=True)
        for index in range(each):
            (root / name / f"{index:03d}.png").write_bytes(encode(make_pixels(number * 1000 + index)))
    return root


def write_csv(path: Path, rows: list[list[Any]], *, header: str = "") -> Path:
    lines = [header] if header else []
    text = "\n".join([*lines, *(",".join(map(str, row)) for row in rows)]) + "\n"
    content = text.encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def idx_images(images: NDArray[np.uint8]) -> bytes:
    return struct.pack(">4B3I", 0, 0, 8, 3, *images.shape) + images.tobytes()


def idx_labels(labels: list[int]) -> bytes:
    return struct.pack(">4BI", 0, 0, 8, 1, len(labels)) + bytes(labels)


def volume_spec(**fields: Any) -> DatasetSpec:
    wire = {"source": {"volume": {"claim": "raw"}}, "layout": {"folders": {}}, **fields}
    return DatasetSpec.from_wire(wire)


def silent_progress() -> ImportProgress:
    return ImportProgress(RankRecord.from_environment(), out=io.StringIO())


def import_from(
    source: Path,
    data: Path,
    spec: DatasetSpec | None = None,
    *,
    workers: int = 1,
    progress: ImportProgress | None = None,
) -> DatasetFacts:
    run = ImportRun(name="made", spec=spec or volume_spec(), workers=workers)
    return import_dataset(run, ImportFolders(data=data, source=source), progress=progress or silent_progress())
