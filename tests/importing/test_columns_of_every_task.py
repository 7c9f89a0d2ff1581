"""Whatever a task stores comes back as it was, whole rows in any order."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from oarlock_api.v1alpha1.dataset import Task, Tokens
from oarlock_trainer.datasets import Tokenizer, open_dataset, write_dataset
from oarlock_trainer.datasets.columns import Column, Columns, ColumnType, choose_columns
from oarlock_trainer.datasets.shards import write_shard
from oarlock_trainer.datasets.stored import StoredSplit
from oarlock_trainer.errors import DataCorruptError

shapes = st.lists(st.integers(1, 4), max_size=3).map(tuple)
columns = st.builds(Column, name=st.just("x"), dtype=st.sampled_from(ColumnType), shape=shapes)


def rows_of(column: Column, count: int) -> st.SearchStrategy[NDArray[Any]]:
    return arrays.arrays(np.dtype(column.dtype), (count, *column.shape))


@settings(max_examples=60, deadline=None)
@given(data=st.data(), first=columns, second=st.none() | columns, sizes=st.lists(st.integers(1, 5), max_size=3))
def test_rows_come_back_whatever_their_type_and_shape(
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
    first: Column,
    second: Column | None,
    sizes: list[int],
) -> None:
    folder, count = tmp_path_factory.mktemp("rows"), sum(sizes)
    stored = Columns(input=first, target=second.model_copy(update={"name": "y"}) if second else None)
    inputs = data.draw(rows_of(first, count))
    targets = data.draw(rows_of(second, count)) if second else None
    ends = np.cumsum([0, *sizes])
    shards = [
        write_shard(folder / f"{part}.arrow", stored, inputs[a:b], None if targets is None else targets[a:b])
        for part, (a, b) in enumerate(pairwise(ends))
    ]
    ids = np.array(
        data.draw(st.lists(st.integers(0, count - 1), max_size=12) if count else st.just([])), dtype=np.int64
    )

    found = StoredSplit(folder, shards=shards, columns=stored).gather(ids)

    assert found[0].tobytes() == inputs[ids].astype(found[0].dtype).tobytes()
    assert found[0].shape == (len(ids), *first.shape)
    if targets is not None:
        assert found[1].tobytes() == targets[ids].astype(found[1].dtype).tobytes()
    else:
        assert found[1].shape == (len(ids), 0)


def test_description_names_columns_and_vocabulary_when_the_samples_are_texts(tmp_path: Path) -> None:
    tokenizer = Tokenizer(tokens=Tokens.WORDS, length=6, words=["hello", "world", "!"])
    texts = tokenizer.encode_all(["Hello, world!", "hello hello"])
    write_dataset(
        tmp_path,
        classes=["a", "b"],
        splits={"train": (texts, np.array([0, 1]))},
        task=Task.TEXT_CLASSIFICATION,
        tokenizer=tokenizer,
    )
    stored = open_dataset(tmp_path)
    manifest = stored.manifest

    assert stored.split("train").gather(np.array([0]))[0].tolist() == [[2, 1, 3, 4, 0, 0]]
    assert (manifest.input.dtype, manifest.input.shape, manifest.mean_image) == ("uint16", (6,), None)
    assert manifest.vocabulary
    assert manifest.vocabulary.size == 5
    assert stored.tokenizer() == tokenizer
    (tmp_path / "vocabulary.txt").write_text("hello\nworlds\n!\n")
    with pytest.raises(DataCorruptError, match=r"vocabulary\.txt is damaged"):
        stored.verify()


def test_pixels_and_boxes_are_counted_by_class_when_these_are_the_targets(tmp_path: Path) -> None:
    images = np.zeros((2, 2, 2, 1), dtype=np.uint8)
    masks = np.array([[[0, 1], [1, 255]], [[1, 1], [1, 1]]], dtype=np.uint8)
    boxes = np.array([[[2, 0.5, 0.5, 1, 1], [-1, 0, 0, 0, 0]], [[0, 0.5, 0.5, 1, 1]] * 2], dtype=np.float32)

    masked = write_dataset(
        tmp_path / "m", classes=["a", "b"], splits={"train": (images, masks)}, task=Task.SEGMENTATION
    )
    boxed = write_dataset(
        tmp_path / "b", classes=["a", "b", "c"], splits={"train": (images, boxes)}, task=Task.OBJECT_DETECTION
    )

    assert masked.class_counts == {"train": [1, 6]}
    assert boxed.class_counts == {"train": [2, 0, 1]}
    assert boxed.target
    assert boxed.target.shape == (2, 5)


def test_version_differs_when_only_the_targets_do(tmp_path: Path) -> None:
    images, masks = np.zeros((2, 3, 3, 1), dtype=np.uint8), np.zeros((2, 3, 3), dtype=np.uint8)

    def version(folder: str, targets: NDArray[np.uint8] | None, task: Task) -> str:
        return write_dataset(tmp_path / folder, classes=["a"], splits={"train": (images, targets)}, task=task).version

    assert version("1", masks, Task.SEGMENTATION) != version("2", masks + 1, Task.SEGMENTATION)
    assert version("3", images, Task.IMAGE_TO_IMAGE) != version("4", None, Task.IMAGE_TO_IMAGE)


def test_shard_refuses_rows_that_do_not_fit_its_columns(tmp_path: Path) -> None:
    stored = choose_columns(Task.SEGMENTATION, (2, 2, 1), (2, 2))
    images = np.zeros((1, 2, 2, 1), dtype=np.uint8)

    with pytest.raises(ValueError, match=r"rows of the column mask have the shape \[2, 2\]"):
        write_shard(tmp_path / "1.arrow", stored, images, np.zeros((1, 2, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match="values of the column mask do not fit uint8"):
        write_shard(tmp_path / "2.arrow", stored, images, np.full((1, 2, 2), 256))
