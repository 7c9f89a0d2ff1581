"""IDX files, as those of the original MNIST: what is read, and what is said of broken ones."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from importing.made_sources import idx_images, idx_labels, import_from, volume_spec

from oarlock_api.contract import Cause
from oarlock_trainer.datasets import open_dataset
from oarlock_trainer.errors import TrainerError

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 5, 6), dtype=np.uint8)
LABELS = [index % 2 + 3 for index in range(20)]
SPEC = volume_spec(layout={"idx": {"images": "x", "labels": "y"}})
SPEC_WITH_VALIDATION = volume_spec(
    layout={"idx": {"images": "x", "labels": "y", "validationImages": "vx", "validationLabels": "vy"}}
)


def write_idx(root: Path, images: bytes | None = None, labels: bytes | None = None) -> Path:
    (root / "x").write_bytes(idx_images(IMAGES) if images is None else images)
    (root / "y").write_bytes(idx_labels(LABELS) if labels is None else labels)
    return root


@pytest.mark.parametrize("packed", [False, True])
def test_images_and_labels_come_back(tmp_path: Path, packed: bool) -> None:  # noqa: FBT001  # a parameter of the test
    images, labels = idx_images(IMAGES), idx_labels(LABELS)
    write_idx(tmp_path, *((gzip.compress(images), gzip.compress(labels)) if packed else (images, labels)))
    facts = import_from(tmp_path, tmp_path / "data", SPEC)

    train, train_labels = open_dataset(tmp_path / facts.path).split("train").gather(np.arange(facts.counts["train"]))
    index = {image.tobytes(): label for image, label in zip(IMAGES, LABELS, strict=True)}
    assert facts.classes == ["3", "4"]
    assert [index[image.tobytes()] for image in train[..., 0]] == (train_labels + 3).tolist()


def test_validation_is_that_of_its_own_files_when_they_are_named(tmp_path: Path) -> None:
    write_idx(tmp_path)
    (tmp_path / "vx").write_bytes(idx_images(IMAGES[:6]))
    (tmp_path / "vy").write_bytes(idx_labels(LABELS[:6]))
    facts = import_from(tmp_path, tmp_path / "data", SPEC_WITH_VALIDATION)

    assert facts.counts == {"train": 20, "validation": 6}


def test_validation_images_are_refused_when_their_size_differs(tmp_path: Path) -> None:
    write_idx(tmp_path)
    (tmp_path / "vx").write_bytes(idx_images(IMAGES[:, :4]))
    (tmp_path / "vy").write_bytes(idx_labels(LABELS))

    with pytest.raises(TrainerError, match="are 4x6, those for training 5x6"):
        import_from(tmp_path, tmp_path / "data", SPEC_WITH_VALIDATION)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (b"", None, "x is not an IDX file: it begins with nothing"),
        (b"\x89PNG\r\n", None, "x is not an IDX file: it begins with 89 50 4e 47"),
        (idx_labels(LABELS), None, "x is an IDX file of type 0x08 with 1 dimensions, where images"),
        (None, idx_images(IMAGES), "y is an IDX file of type 0x08 with 3 dimensions, where labels"),
        (struct.pack(">4B", 0, 0, 0x0D, 3), None, "x is an IDX file of type 0x0d"),
        (idx_images(IMAGES)[:10], None, "x is truncated: it ends within its header"),
        (idx_images(IMAGES)[:-7], None, "x is truncated: it announces 600 bytes of pixels and holds 593"),
        (gzip.compress(idx_images(IMAGES))[:-20], None, "x is a broken gzip file"),
        (None, idx_labels(LABELS)[:-1], "y is truncated: it announces 20 bytes of labels and holds 19"),
        (idx_images(IMAGES) + b"\0", None, "x goes on after the end"),
        (struct.pack(">4B3I", 0, 0, 8, 3, 0, 5, 6), None, "x is empty: its sizes are 0x5x6"),
        (None, idx_labels(LABELS[:19]), r"x holds 20 images, but .*y holds 19 labels"),
    ],
    ids=[
        *("empty", "png", "labels as images", "images as labels", "floats", "header", "truncated", "gzip"),
        *("truncated labels", "longer", "no images", "counts"),
    ],
)
def test_fault_is_named(tmp_path: Path, images: bytes | None, labels: bytes | None, message: str) -> None:
    with pytest.raises(TrainerError, match=message) as caught:
        import_from(write_idx(tmp_path, images, labels), tmp_path / "data", SPEC)
    assert caught.value.cause is Cause.DATA_CORRUPT
    assert caught.value.remedy


def test_file_is_named_when_it_is_missing(tmp_path: Path) -> None:
    write_idx(tmp_path)
    (tmp_path / "y").unlink()

    with pytest.raises(TrainerError, match=r"/y does not exist") as caught:
        import_from(tmp_path, tmp_path / "data", SPEC)
    assert caught.value.cause is Cause.DATA_MISSING
