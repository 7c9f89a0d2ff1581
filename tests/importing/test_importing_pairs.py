"""Images with masks, or with other images: what becomes of every pixel, and what is said of pairs that are none."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from importing.made_sources import encode, import_from, make_pixels, volume_spec
from numpy.typing import NDArray
from PIL import Image

from oarlock_api.v1alpha1.dataset import DatasetSpec, Resize
from oarlock_trainer.datasets import StoredDataset, open_dataset
from oarlock_trainer.errors import DataMissingError, TrainerError
from oarlock_trainer.importing.class_map import ClassMap, read_class_map
from oarlock_trainer.importing.forms import MaskForm
from oarlock_trainer.importing.images import PixelFormat
from oarlock_trainer.importing.masks import decode_mask
from oarlock_trainer.importing.samples import PairSamples
from oarlock_trainer.importing.shard_tasks import ShardTask, run_shard_task
from oarlock_trainer.importing.source_files import UnreadableSampleError

GRAY = PixelFormat(height=8, width=8, channels=1)


def make_mask(seed: int, *, classes: int = 3) -> NDArray[np.uint8]:
    return (make_pixels(seed) % classes).astype(np.uint8)


def write_pairs(root: Path, *, each: int = 10) -> Path:
    for folder in ("images", "masks"):
        (root / folder / "deep").mkdir(parents=True)
    for index in range(each):
        name = f"deep/{index:02d}" if index % 2 else f"{index:02d}"
        (root / f"images/{name}.jpg").write_bytes(encode(make_pixels(index), "JPEG", quality=95))
        (root / f"masks/{name}.png").write_bytes(encode(make_mask(index)))
    return root


def pairs_spec(*, task: str = "segmentation", **layout: Any) -> DatasetSpec:
    pairs = {"images": "images", "masks": "masks", **layout}
    given_pairs = {name: value for name, value in pairs.items() if value}
    return volume_spec(task=task, layout={"pairs": given_pairs}, image={"channels": "gray"}, split={"validation": 0.2})


def import_pairs(source: Path, data: Path, **spec: Any) -> StoredDataset:
    return open_dataset(data / import_from(source, data, pairs_spec(**spec)).version)


def decode(
    mask: NDArray[Any] | Image.Image, classes: ClassMap | None = None, form: PixelFormat = GRAY
) -> list[list[int]]:
    image = mask if isinstance(mask, Image.Image) else Image.fromarray(mask)
    found: list[list[int]] = decode_mask(encode(image), form, classes or ClassMap(), image_size=image.size).tolist()
    return found


def test_masks_lie_beside_their_images_when_they_have_the_same_names(tmp_path: Path) -> None:
    stored = import_pairs(write_pairs(tmp_path / "raw"), tmp_path / "data")
    masks = np.concatenate(
        [stored.split(name).gather(np.arange(count))[1] for name, count in (("train", 8), ("validation", 2))]
    )

    expected = sorted(make_mask(index).tolist() for index in range(10))
    assert sorted(masks.tolist()) == expected
    assert stored.manifest.classes == ["0", "1", "2"]
    counts = np.array([stored.manifest.class_counts[name] for name in ("train", "validation")])
    assert counts.sum(axis=0).tolist() == np.bincount(np.array(expected).reshape(-1)).tolist()
    images, masks = stored.split("train").gather(np.array([0]))
    index = next(index for index in range(10) if make_mask(index).tolist() == masks[0].tolist())
    assert np.abs(images[0, ..., 0].astype(int) - make_pixels(index)).mean() < 20, "the image of another mask"


def test_pairs_that_are_none_are_refused_by_name(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "raw", each=40)
    (source / "masks/00.png").unlink()
    (source / "masks/02.png").write_bytes(encode(make_pixels(1, width=9)))
    (source / "masks/04.png").write_bytes(encode(np.zeros((8, 8, 3), dtype=np.uint8) + np.array([1, 2, 3], np.uint8)))
    (source / "masks/06.png").write_bytes(b"no image")
    (source / "masks/99.png").write_bytes(b"")

    manifest = import_pairs(source, tmp_path / "data").manifest

    assert {reject.path: reject.reason.removesuffix(" file") for reject in manifest.rejects} == {
        "images/00.jpg": "there is no 00 in masks",
        "images/02.jpg": "masks/02.png: the mask is 9x8 pixels large, its image 8x8",
        "images/04.jpg": "masks/04.png: the mask is coloured: say what the colours mean in spec.layout.pairs.classMap",
        "images/06.jpg": "masks/06.png: the content is not that of an image",
    }
    assert manifest.remarks == {"masks without an image": 1}


def test_colours_become_classes_when_a_class_map_names_them(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_text("# VOC\n0 0 0 background\n\n128 0 0 aero plane # red\n224 224 192 ignore\n")
    classes = read_class_map(path)
    colours = np.array([[0, 0, 0], [128, 0, 0], [224, 224, 192]], dtype=np.uint8)
    picture = colours[make_mask(0)]
    palette = Image.fromarray(make_mask(0), "P")
    palette.putpalette(colours.reshape(-1).tolist())

    assert classes.classes == ["background", "aero plane"]
    expected = np.array([0, 1, 255])[make_mask(0)].tolist()
    assert decode(picture, classes) == expected
    assert decode(palette, classes) == expected
    assert decode(palette) == make_mask(0).tolist(), "without a map, the places in the palette are the classes"
    picture[3, 5] = 7
    with pytest.raises(UnreadableSampleError, match="the colour 7 7 7 at x 5, y 3 is in no class"):
        decode(picture, classes)


def test_values_become_classes_when_a_class_map_names_them(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_text("0 background\n255 cell wall\n")
    classes = read_class_map(path)
    mask = np.where(make_mask(0) > 1, 255, 0).astype(np.uint8)

    assert decode(mask, classes) == np.where(make_mask(0) > 1, 1, 0).tolist()
    assert decode(Image.fromarray(mask).convert("1")) == np.where(make_mask(0) > 1, 1, 0).tolist()
    with pytest.raises(UnreadableSampleError, match="the value 9 at x 0, y 0 is in no class"):
        decode(np.full((8, 8), 9, dtype=np.uint8), classes)
    with pytest.raises(UnreadableSampleError, match="it holds 300"):
        decode(np.full((8, 8), 300, dtype=np.uint16))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 0 0 a\n1 b", "line 2 .* is not `red green blue name`"),
        ("0 a\n0 b", "line 2 .* stands for two classes"),
        ("0 a\n256 b", "line 2 .* from 0 to 255"),
        ("0 a\n", "names 1 classes"),
    ],
    ids=["mixed", "twice", "too large", "alone"],
)
def test_class_map_is_refused_by_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "map").write_text(text)

    with pytest.raises(TrainerError, match=message):
        read_class_map(tmp_path / "map")


@given(
    size=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    goal=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    resize=st.sampled_from([Resize.SQUASH, Resize.CROP, Resize.FILL]),
)
def test_resized_masks_hold_no_class_that_was_not_there(
    size: tuple[int, int], goal: tuple[int, int], resize: Resize
) -> None:
    mask = np.full(size, 7, dtype=np.uint8)
    mask[: size[0] // 2] = 200
    found = np.array(decode(mask, form=PixelFormat(height=goal[0], width=goal[1], channels=1, resize=resize)))

    assert found.shape == goal
    assert set(found.reshape(-1).tolist()) <= {7, 200} | ({255} if resize is Resize.FILL else set())


def test_masks_of_one_class_are_refused_with_the_reason(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "raw", each=4)
    for path in (source / "masks").rglob("*.png"):
        path.write_bytes(encode(np.where(make_mask(1) > 1, 255, 0).astype(np.uint8)))

    with pytest.raises(DataMissingError, match="the masks show a single class") as caught:
        import_pairs(source, tmp_path / "data")
    assert "classMap" in caught.value.remedy


def test_mask_is_named_when_a_value_of_it_makes_classes_without_pixels(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "raw")
    (source / "masks/04.png").write_bytes(b"no image")
    stray = make_mask(6)
    stray[3, 5] = 17
    (source / "masks/06.png").write_bytes(encode(stray))
    manifest = import_pairs(source, tmp_path / "data").manifest

    assert len(manifest.classes) == 18
    ((remark, count),) = manifest.remarks.items()
    assert count == 14
    assert remark.startswith("of 18 classes have no pixel: the value 17 (1 px, first in masks/06.png) makes so many.")


def test_images_are_targets_when_the_task_is_to_make_images(tmp_path: Path) -> None:
    stored = import_pairs(write_pairs(tmp_path / "raw"), tmp_path / "data", task="imageToImage")
    targets = stored.split("train").gather(np.arange(8))[1]

    assert targets.shape == (8, 8, 8, 1)
    assert {target.tobytes() for target in targets} <= {make_mask(index).tobytes() for index in range(10)}
    assert stored.manifest.classes == []


def test_nothing_is_stored_twice_when_images_are_their_own_targets(tmp_path: Path) -> None:
    stored = import_pairs(write_pairs(tmp_path / "raw"), tmp_path / "data", task="imageToImage", masks="")

    assert stored.manifest.target is None
    assert stored.split("train").gather(np.arange(3))[1].shape == (3, 0)
    assert stored.manifest.counts == {"train": 8, "validation": 2}


def test_splits_have_folders_of_their_own_when_the_spec_names_them(tmp_path: Path) -> None:
    write_pairs(tmp_path / "raw/train", each=6)
    write_pairs(tmp_path / "raw/val", each=2)
    layout = {"pairs": {"images": "images", "masks": "masks"}}
    split = {"folders": {"train": "train", "validation": "val"}}
    facts = import_from(
        tmp_path / "raw", tmp_path / "data", volume_spec(task="segmentation", layout=layout, split=split)
    )

    assert facts.counts == {"train": 6, "validation": 2}


@pytest.mark.parametrize(
    ("removed", "message"), [("masks", "masks does not exist"), ("images", "images does not exist")]
)
def test_missing_folders_are_named(tmp_path: Path, removed: str, message: str) -> None:
    source = write_pairs(tmp_path / "raw")
    (source / removed).rename(source / "other")

    with pytest.raises(DataMissingError, match=message):
        import_pairs(source, tmp_path / "data")


def test_finished_shard_is_taken_unless_a_mask_has_changed(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "raw", each=6)
    paths = [f"images/{index:02d}.jpg" for index in (0, 2, 4)]
    masks = [f"masks/{index:02d}.png" for index in (0, 2, 4)]
    task = ShardTask(
        split="train",
        index=0,
        samples=PairSamples(root=source, paths=paths, partners=masks),
        labels=np.zeros(3, dtype=np.int32),
        form=MaskForm(pixels=GRAY, class_map=ClassMap()),
        folder=tmp_path,
    )
    first = run_shard_task(task, lambda _: None)
    second = run_shard_task(task, lambda _: None)
    (source / masks[1]).write_bytes(encode(make_mask(77)))
    third = run_shard_task(task, lambda _: None)

    assert (first.reused, second.reused, third.reused) == (False, True, False)
    assert first.class_counts == second.class_counts != third.class_counts
