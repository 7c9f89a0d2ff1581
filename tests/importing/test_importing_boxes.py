"""Boxes of KITTI and COCO: where they lie in the stored image, and which are left out."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from importing.made_sources import encode, import_from, make_pixels, volume_spec
from PIL import Image

from oarlock_api.v1alpha1.dataset import Resize
from oarlock_trainer.datasets import StoredDataset, open_dataset
from oarlock_trainer.errors import DataCorruptError, DataMissingError
from oarlock_trainer.importing.boxes import CROPPED_AWAY, place_boxes
from oarlock_trainer.importing.geometry import place_image, resize_image
from oarlock_trainer.importing.images import PixelFormat

CAR = "Car 0.00 0 -1.57 2 1 6 5 0 0 0 0 0 0 0"
KITTI = {"kitti": {"images": "images", "labels": "labels"}}
COCO = {"coco": {"images": "images", "annotations": "boxes.json"}}


BOX = {"category_id": 7, "bbox": [2, 1, 4, 4]}


def write_images(root: Path, *, count: int = 10) -> Path:
    (root / "images").mkdir(parents=True)
    for index in range(count):
        (root / f"images/{index:02d}.png").write_bytes(encode(make_pixels(index)))
    return root


def write_kitti(root: Path, labels: list[str], *, usual: str = CAR, count: int = 10) -> Path:
    (write_images(root, count=count) / "labels").mkdir()
    for index in range(count):
        (root / f"labels/{index:02d}.txt").write_text(labels[index] if index < len(labels) else usual)
    return root


def import_boxes(source: Path, data: Path, layout: dict[str, Any] = KITTI) -> StoredDataset:
    spec = volume_spec(
        task="objectDetection", layout=layout, image={"channels": "gray"}, split={"validation": 0.2, "seed": 1}
    )
    return open_dataset(data / import_from(source, data, spec).version)


def boxes_of(stored: StoredDataset, pixels: int) -> list[list[float]]:
    """Return the boxes of the image whose pixels were made from that seed."""
    for split, count in stored.manifest.counts.items():
        images, boxes = stored.split(split).gather(np.arange(count))
        for image, rows in zip(images, boxes, strict=True):
            if np.array_equal(image[..., 0], make_pixels(pixels)):
                found: list[list[float]] = rows[rows[:, 0] >= 0].tolist()
                return found
    raise AssertionError(f"no image {pixels}")


def test_boxes_are_shares_of_the_image_and_filled_up_when_an_image_has_fewer(tmp_path: Path) -> None:
    labels = [f"{CAR}\nDontCare 0 0 0 0 0 8 8\nVan 0 0 0 -2 4 4 12\n", "\n", "Van 0 0 0 0 0 8 8"]
    stored = import_boxes(write_kitti(tmp_path / "raw", labels), tmp_path / "data")
    manifest = stored.manifest

    assert manifest.classes == ["Car", "Van"]
    assert manifest.target
    assert manifest.target.shape == (2, 5)
    assert boxes_of(stored, 0) == [[0, 0.5, 0.375, 0.5, 0.5], [1, 0.25, 0.75, 0.5, 0.5]]
    assert boxes_of(stored, 1) == []
    assert boxes_of(stored, 2) == [[1, 0.5, 0.5, 1, 1]]
    assert manifest.remarks == {"regions called DontCare": 1}
    assert np.sum(list(manifest.class_counts.values()), axis=0).tolist() == [8, 2]


def test_boxes_and_images_without_use_are_refused_by_name(tmp_path: Path) -> None:
    labels = ["Car 0 0 0 6 1 2 5", "Car 0 0 0 9 9 12 12", "Car 0 0 nothing", f"{CAR}\nCar 0 0 0 1 2 inf 5"]
    source = write_kitti(tmp_path / "raw", labels, count=30)
    (source / "labels/04.txt").unlink()
    stored = import_boxes(source, tmp_path / "data")

    assert {(reject.path, reject.reason) for reject in stored.manifest.rejects} == {
        ("labels/00.txt", "the box from 6, 1 to 2, 5 has no area"),
        ("labels/01.txt", "the box from 9, 9 to 12, 12 lies outside the image of 8x8 pixels"),
        (
            "images/02.png",
            "labels/02.txt: line 1 is not `type truncated occluded alpha left top right bottom`: 'Car 0 0 nothing'",
        ),
        ("labels/03.txt", "the box from 1, 2 to inf, 5 is not made of numbers"),
        ("images/04.png", "there is no 04 in labels"),
    }
    assert boxes_of(stored, 0) == []
    assert len(boxes_of(stored, 3)) == 1


def test_source_without_boxes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataMissingError, match="holds no boxes"):
        import_boxes(write_kitti(tmp_path / "raw", [], usual=""), tmp_path / "data")


def coco(**changes: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 100 + index, "file_name": f"{index:02d}.png"} for index in range(10)],
        "categories": [{"id": 7, "name": "car"}, {"id": 3, "name": "tree"}],
        "annotations": [
            {"image_id": 100, "category_id": 7, "bbox": [2, 1, 4, 4]},
            {"image_id": 100, "category_id": 3, "bbox": [0, 4, 4, 4], "iscrowd": 0},
            {"image_id": 101, "category_id": 3, "bbox": [0, 0, 8, 8], "iscrowd": 1},
        ],
        **changes,
    }


def test_boxes_of_coco_are_those_of_their_images(tmp_path: Path) -> None:
    source = write_images(tmp_path / "raw")
    images = [*coco()["images"], {"id": 1, "file_name": "lost.png"}]
    (source / "boxes.json").write_text(json.dumps(coco(images=images)))
    stored = import_boxes(source, tmp_path / "data", COCO)

    assert stored.manifest.classes == ["tree", "car"], "in the order of their numbers"
    assert boxes_of(stored, 0) == [[1, 0.5, 0.375, 0.5, 0.5], [0, 0.25, 0.75, 0.5, 0.5]]
    assert boxes_of(stored, 1) == []
    assert stored.manifest.remarks == {"boxes around crowds": 1}
    assert [reject.path for reject in stored.manifest.rejects] == ["images/lost.png"]


def test_ids_of_coco_match_however_they_are_written_and_annotations_of_no_image_are_counted(tmp_path: Path) -> None:
    source = write_images(tmp_path / "raw")
    images = [{"id": index, "file_name": f"{index:02d}.png"} for index in range(10)]
    ids = ["0", 1.0, 2, 77, None]
    annotations = [{**BOX, "category_id": "7", "image_id": each} for each in ids]
    (source / "boxes.json").write_text(json.dumps(coco(images=images, annotations=annotations)))
    stored = import_boxes(source, tmp_path / "data", COCO)

    assert [boxes_of(stored, index) for index in range(3)] == [[[1, 0.5, 0.375, 0.5, 0.5]]] * 3
    assert stored.manifest.remarks == {
        "annotations of no image in boxes.json, the first: annotation number 4 with the image_id 77": 2
    }


def test_annotations_of_coco_that_cannot_be_used_are_refused_by_their_ids(tmp_path: Path) -> None:
    source = write_images(tmp_path / "raw")
    good = [{**BOX, "id": 1 + index, "image_id": 100 + index} for index in range(8)]
    bad: list[dict[str, Any]] = [
        {"category_id": 99},
        {"bbox": [1, 2, 3]},
        {"bbox": None},
        {"bbox": "1234"},
        {"bbox": [10**400, 0, 1, 1]},
    ]
    annotations = [*good, *({**BOX, "image_id": 100, "id": 50 + index, **flaw} for index, flaw in enumerate(bad))]
    (source / "boxes.json").write_text(json.dumps(coco(annotations=annotations)))
    stored = import_boxes(source, tmp_path / "data", COCO)

    assert {reject.path for reject in stored.manifest.rejects} == {"boxes.json"}
    reasons = [reject.reason for reject in stored.manifest.rejects]
    assert reasons[:3] == [
        "the annotation with the id 50: its category_id 99 is that of no category in the file",
        "the annotation with the id 51: its bbox must be four numbers, [left, top, width, height], found [1, 2, 3]",
        "the annotation with the id 52: its bbox must be four numbers, [left, top, width, height], found null",
    ]
    assert len(reasons) == 5
    assert len(boxes_of(stored, 0)) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"annotations": [{**BOX, "image_id": index} for index in (1, 2, 100)]},
            "2 of 3 annotations in .* are of no image",
        ),
        ({"annotations": [{"image_id": 100}, 7]}, "2 of 2 annotations .* cannot be used, .* number 1: its category_id"),
        ({"categories": [{"id": 1, "name": "car"}, {"id": 2, "name": "car"}]}, "2 categories with the name 'car'"),
        ({"categories": [{"id": 1, "name": "car"}, {"id": "1", "name": "van"}]}, "2 categories with the id '1'"),
        ({"categories": [{"id": 1, "name": "cat\ud83d"}]}, r"half a character: 'cat\\ud83d'"),
        ({"images": [{"id": 1, "file_name": "00.png"}, {"id": "1", "file_name": "01.png"}]}, "1 images .* of another"),
    ],
    ids=["unmatched", "useless", "names", "ids", "half a character", "images"],
)
def test_coco_is_refused_when_it_does_not_say_what_is_seen_where(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    source = write_images(tmp_path / "raw")
    (source / "boxes.json").write_text(json.dumps(coco(**changes)))

    with pytest.raises(DataCorruptError, match=message):
        import_boxes(source, tmp_path / "data", COCO)


@pytest.mark.parametrize(
    "content",
    ["[]", "{", json.dumps(coco(categories=[{"id": 1}]))],
    ids=["a list", "no JSON", "no name"],
)
def test_what_is_not_coco_is_refused(tmp_path: Path, content: str) -> None:
    source = write_images(tmp_path / "raw")
    (source / "boxes.json").write_text(content)

    with pytest.raises(DataCorruptError, match=r"boxes\.json is not"):
        import_boxes(source, tmp_path / "data", COCO)


@given(
    size=st.tuples(st.integers(20, 60), st.integers(20, 60)),
    goal=st.tuples(st.integers(20, 60), st.integers(20, 60)),
    resize=st.sampled_from([Resize.SQUASH, Resize.CROP, Resize.FILL]),
    corner=st.tuples(st.floats(0, 0.8), st.floats(0, 0.8)),
)
def test_boxes_stay_where_the_pixels_are_when_the_image_is_resized(
    size: tuple[int, int], goal: tuple[int, int], resize: Resize, corner: tuple[float, float]
) -> None:
    """A white rectangle on black is looked for in the resized image."""
    left, top = int(corner[0] * size[0]), int(corner[1] * size[1])
    right, bottom = min(size[0], left + size[0] // 3), min(size[1], top + size[1] // 3)
    pixels = np.zeros((size[1], size[0]), dtype=np.uint8)
    pixels[top:bottom, left:right] = 255
    form = PixelFormat(height=goal[1], width=goal[0], channels=1, resize=resize)
    resized = np.asarray(resize_image(Image.fromarray(pixels), goal, resize, method=Image.Resampling.BILINEAR)) > 127
    placed = place_boxes(np.array([[0, left, top, right, bottom]], np.float32), image_size=size, form=form, most=1)

    _, x, y, width, height = placed.rows[0].tolist()
    rows, columns = np.nonzero(resized)
    if placed.remarks[CROPPED_AWAY]:
        assert placed.rows[0, 0] == -1
        return
    found = [columns.min() / goal[0], (columns.max() + 1) / goal[0], rows.min() / goal[1], (rows.max() + 1) / goal[1]]
    expected = [x - width / 2, x + width / 2, y - height / 2, y + height / 2]
    assert np.abs(np.array(found) - expected).max() < 2.1 / min(goal)


def test_placement_is_the_identity_when_the_proportions_are_the_same() -> None:
    for resize in (Resize.SQUASH, Resize.CROP, Resize.FILL):
        assert place_image((40, 20), (20, 10), resize) == place_image((40, 20), (20, 10), Resize.SQUASH)
