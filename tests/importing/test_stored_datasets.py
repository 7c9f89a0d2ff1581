"""Data sets on disk: what is written comes back, in any order, and what is damaged is never returned."""

import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from importing.lost_files import make_unreadable
from numpy.typing import NDArray

from oarlock_api.run import content_hash
from oarlock_trainer.datasets import Readers, StoredDataset, StoredSplit, open_dataset, write_dataset
from oarlock_trainer.datasets.mapped import LARGE_ROW_BYTES
from oarlock_trainer.datasets.moments import PixelSums
from oarlock_trainer.datasets.writing import divide_rows
from oarlock_trainer.errors import DataCorruptError, DataMissingError, StorageError, TrainerError

SHAPE = (5, 4, 3)
ROW_BYTES = 60


def make_images(count: int, *, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, *SHAPE), dtype=np.uint8)


def make_dataset(folder: Path, *, count: int = 50, rows_per_shard: int = 20) -> StoredDataset:
    labels = np.arange(count) % 3
    splits = {"train": (make_images(count), labels), "validation": (make_images(7, seed=1), labels[:7])}
    write_dataset(folder, classes=["a", "b", "c"], splits=splits, shard_bytes=rows_per_shard * ROW_BYTES)
    return open_dataset(folder)


def flip_byte(path: Path, position: int) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)
        file.seek(position)
        file.write(bytes([byte[0] ^ 0xFF]))


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> StoredDataset:
    return make_dataset(tmp_path_factory.mktemp("stored") / "data")


@pytest.fixture(scope="module")
def readers() -> Iterator[Readers]:
    made = Readers(3, name="reader")
    yield made
    made.close()


@given(st.lists(st.integers(0, 49), max_size=120))
def test_gather_equals_naive_indexing_when_rows_are_spread_over_shards(
    stored: StoredDataset, readers: Readers, rows: list[int]
) -> None:
    indices = np.array(rows, dtype=np.int64)
    for own in (None, readers):
        images, labels = stored.split("train").gather(indices, readers=own)

        assert images.dtype == np.uint8
        assert labels.dtype == np.int64
        assert np.array_equal(images, make_images(50)[indices])
        assert np.array_equal(labels, indices % 3)


def test_gather_equals_naive_indexing_when_there_is_one_shard(tmp_path: Path, readers: Readers) -> None:
    split = make_dataset(tmp_path, rows_per_shard=1000).split("train")
    rows = np.array([3, 3, 49, 0])

    for own in (None, readers):
        images, labels = split.gather(rows, readers=own)

        assert np.array_equal(images, make_images(50)[rows])
        assert labels.tolist() == [0, 0, 1, 0]


def make_large_rows(folder: Path) -> tuple[StoredSplit, NDArray[np.uint8]]:
    """Write rows that are awaited page by page; none begins where a page does."""
    images = np.random.default_rng(3).integers(0, 256, (12, 83, 67, 3), dtype=np.uint8)
    write_dataset(folder, classes=["a"], splits={"train": (images, np.zeros(12))}, shard_bytes=5 * images[0].nbytes)
    return open_dataset(folder).split("train"), images


def test_gather_equals_naive_indexing_when_rows_are_large(tmp_path: Path, readers: Readers) -> None:
    split, images = make_large_rows(tmp_path)
    assert images[0].nbytes > LARGE_ROW_BYTES

    for own in (None, readers, None):
        for rows in ([11, 0, 5, 5, 3, 8], list(range(12)), [4]):
            assert np.array_equal(split.gather(np.array(rows), readers=own)[0], images[rows])


@pytest.mark.parametrize("kept", [0, 20_000])
def test_gather_names_the_file_when_a_mapped_one_is_cut_off(tmp_path: Path, readers: Readers, kept: int) -> None:
    if not knows_populate_read():
        pytest.skip("NOT RUN: Linux before 5.14 tells of a lost page by SIGBUS alone")
    split, _ = make_large_rows(tmp_path)
    split.gather(np.arange(12))
    os.truncate(tmp_path / "train-00001.arrow", kept)

    for own in (None, readers):
        split.gather(np.array([0, 11]), readers=own)
        with pytest.raises(DataCorruptError, match=rf"train-00001\.arrow has {kept} bytes instead of") as caught:
            split.gather(np.array([0, 7]), readers=own)
        assert "import the Dataset again" in caught.value.remedy


def knows_populate_read() -> bool:
    return tuple(int(part) for part in platform.release().split(".")[:2]) >= (5, 14)


@pytest.mark.parametrize("row", [-1, 50])
def test_gather_raises_when_a_row_is_out_of_range(stored: StoredDataset, row: int) -> None:
    with pytest.raises(IndexError, match="split of 50"):
        stored.split("train").gather(np.array([0, row]))


def test_split_is_empty_when_the_dataset_lacks_it(stored: StoredDataset) -> None:
    assert len(stored.split("test")) == 0
    assert stored.split("test").gather(np.array([], dtype=np.int64))[0].shape == (0, *SHAPE)


def test_manifest_tells_counts_and_moments_when_read_back(stored: StoredDataset) -> None:
    images = make_images(50).astype(np.float64)
    manifest = stored.manifest

    assert manifest.counts == {"train": 50, "validation": 7}
    assert manifest.class_counts == {"train": [17, 17, 16], "validation": [3, 2, 2]}
    assert manifest.sample_shape == SHAPE
    assert np.allclose(manifest.mean, images.mean(axis=(0, 1, 2)), rtol=1e-12)
    assert np.allclose(manifest.std, images.std(axis=(0, 1, 2)), rtol=1e-12)
    assert np.allclose(stored.mean_image(), images.mean(axis=0), rtol=1e-6)


@given(st.lists(st.integers(0, 60), min_size=1, max_size=6))
def test_sums_are_the_same_when_the_images_are_divided(sizes: list[int]) -> None:
    parts = [make_images(size, seed=index) for index, size in enumerate([*sizes, 1])]
    whole = PixelSums.of(np.concatenate(parts))
    summed = PixelSums.of(parts[0])
    for part in parts[1:]:
        summed += PixelSums.of(part)

    assert (summed.mean(), summed.std()) == (whole.mean(), whole.std())
    assert np.array_equal(summed.mean_image(), whole.mean_image())


def test_folder_of_format_1_is_read_as_it_was_when_it_was_written(tmp_path: Path) -> None:
    manifest = make_dataset(tmp_path).manifest
    wire = manifest.to_wire()
    old = {name: value for name, value in wire.items() if name not in {"input", "target", "remarks"}}
    old |= {"formatVersion": 1, "sampleShape": list(SHAPE), "columns": [{"name": "image", "type": "x", "shape": []}]}
    (tmp_path / "dataset.json").write_text(json.dumps(old | {"checksum": content_hash(old)}))

    found = open_dataset(tmp_path)
    found.verify()
    assert found.manifest == manifest.model_copy(update={"format_version": 1})
    assert found.split("validation").gather(np.array([6]))[1].tolist() == [0]


def test_version_is_that_of_format_1_when_the_samples_are_labelled_images(stored: StoredDataset) -> None:
    """What format 1 gave these samples; checkpoints name it."""
    assert stored.manifest.version == "7b513e389d1b4ee3"


def test_version_is_the_same_when_the_content_is(tmp_path: Path) -> None:
    first, second = make_dataset(tmp_path / "1"), make_dataset(tmp_path / "2")
    other = make_dataset(tmp_path / "3", count=51)

    assert first.manifest.version == second.manifest.version
    assert first.manifest.version != other.manifest.version


def test_arrow_opens_a_shard_and_finds_the_shape_when_it_knows_nothing_of_us(stored: StoredDataset) -> None:
    with pa.memory_map(str(stored.folder / "train-00001.arrow")) as source:
        table = pa.ipc.open_file(source).read_all()

    assert table.schema.field("image").type == pa.list_(pa.uint8(), 60)
    assert json.loads(table.schema.field("image").metadata[b"shape"]) == list(SHAPE)
    assert table.schema.field("label").type == pa.int32()
    first = np.array(table.column("image")[0].as_py(), dtype=np.uint8).reshape(SHAPE)
    assert np.array_equal(first, make_images(50)[stored.manifest.shards["train"][0].samples])


def test_no_file_stays_open_when_all_shards_are_mapped(tmp_path: Path) -> None:
    split = make_dataset(tmp_path, rows_per_shard=2).split("train")
    before = len(list(Path("/proc/self/fd").iterdir()))

    split.gather(np.arange(50))

    assert len(list(Path("/proc/self/fd").iterdir())) <= before


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_gather_refuses_when_any_byte_of_the_shard_is_flipped(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    dataset = make_dataset(tmp_path_factory.mktemp("flipped"), rows_per_shard=1000)
    shard = dataset.folder / "train-00000.arrow"
    flip_byte(shard, data.draw(st.integers(0, shard.stat().st_size - 1)))

    with pytest.raises(DataCorruptError, match=r"train-00000\.arrow is damaged") as caught:
        dataset.split("train").gather(np.array([0]))
    assert "import the Dataset again" in caught.value.remedy


def test_gather_succeeds_when_only_an_untouched_shard_is_damaged(tmp_path: Path) -> None:
    split = make_dataset(tmp_path).split("train")
    flip_byte(tmp_path / "train-00002.arrow", 700)

    split.gather(np.arange(30))
    with pytest.raises(DataCorruptError, match="train-00002"):
        split.gather(np.array([49]))


def test_gather_refuses_when_a_shard_is_truncated(tmp_path: Path) -> None:
    split = make_dataset(tmp_path).split("train")
    os.truncate(tmp_path / "train-00000.arrow", 100)

    with pytest.raises(DataCorruptError, match=r"train-00000\.arrow has 100 bytes instead of"):
        split.gather(np.array([0]))


def test_gather_names_the_file_when_the_kernel_cannot_read_it(tmp_path: Path, readers: Readers) -> None:
    make_dataset(tmp_path)
    make_unreadable(tmp_path, "train-00001.arrow")
    split = open_dataset(tmp_path).split("train")

    split.gather(np.array([0, 49]))
    with pytest.raises(StorageError, match=r"reading the data set failed at .*train-00001\.arrow: Input/output error"):
        split.gather(np.array([0, 25, 49]), readers=readers)


def test_gather_refuses_when_a_shard_is_missing(tmp_path: Path) -> None:
    split = make_dataset(tmp_path).split("train")
    (tmp_path / "train-00000.arrow").unlink()

    with pytest.raises(DataMissingError, match=r"train-00000\.arrow is missing"):
        split.gather(np.array([0]))


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        (None, DataMissingError, "there is no data set in"),
        (b"", DataCorruptError, "it is not JSON"),
        (b"\xff\xfe", DataCorruptError, "it is not text"),
        (b"[]", DataCorruptError, "it is not a JSON object"),
        (b"{}", DataCorruptError, "its checksum is wrong"),
        (b'{"formatVersion": 3}', DataCorruptError, "is of format 3; this trainer reads up to 2"),
    ],
    ids=["absent", "empty", "binary", "array", "object", "newer"],
)
def test_open_refuses_when_the_description_is_not_one(
    tmp_path: Path, content: bytes | None, kind: type[TrainerError], message: str
) -> None:
    if content is not None:
        (tmp_path / "dataset.json").write_bytes(content)

    with pytest.raises(kind, match=message) as caught:
        open_dataset(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert caught.value.remedy


def test_open_refuses_when_a_number_in_the_description_was_changed(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    path = tmp_path / "dataset.json"
    path.write_text(path.read_text().replace('"train": 50', '"train": 51'))

    with pytest.raises(DataCorruptError, match="its checksum is wrong"):
        open_dataset(tmp_path)


def test_mean_image_refuses_when_it_is_damaged(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path)
    flip_byte(tmp_path / "mean-image.npy", 150)

    with pytest.raises(DataCorruptError, match=r"mean-image\.npy is damaged"):
        dataset.mean_image()


@given(rows=st.integers(1, 500), row_bytes=st.integers(1, 300), shard_bytes=st.integers(1, 900))
def test_rows_are_divided_evenly_and_within_the_size(rows: int, row_bytes: int, shard_bytes: int) -> None:
    parts = divide_rows(rows, row_bytes=row_bytes, shard_bytes=shard_bytes)
    sizes = [part.stop - part.start for part in parts]

    assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])]
    assert sum(sizes) == rows
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) * row_bytes <= max(shard_bytes, row_bytes)


def test_sums_are_exact_when_every_pixel_is_bright() -> None:
    """So many squares of 255 overflow 32 bits when they are summed at once."""
    sums = PixelSums.of(np.full((140_000, 1, 1, 1), 255, dtype=np.uint8))

    assert int(sums.squares[0]) == 140_000 * 255**2
    assert (sums.mean(), sums.std()) == ([255.0], [0.0])
