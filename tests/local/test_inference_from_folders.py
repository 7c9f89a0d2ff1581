"""Manifests from folders of images: what is inferred is valid, and says what is wrong with the folder otherwise."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from oarlock.cli.dry_run import resolve_job
from oarlock.infer import UnsuitableFolderError, choose, derive_name, format_manifests, observe_folder
from oarlock.local.machine import Machine
from oarlock.local.runs_folder import RunsFolder
from oarlock.manifests.overrides import parse_override
from oarlock.manifests.problems import ManifestsError
from oarlock.manifests.reading import read_manifests
from oarlock.running.inputs import is_image_folder, read_inputs


def make_images(
    folder: Path, *classes: str, size: tuple[int, int] = (28, 28), rgb: bool = False, count: int = 4
) -> Path:
    random = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(0, 255, (size[1], size[0], *([3] if rgb else [])), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


@pytest.mark.parametrize(
    ("size", "rgb", "model", "stored"),
    [
        ((28, 28), False, "lenet", (28, 28)),
        ((5, 7), False, "mlp", (5, 7)),
        ((32, 32), True, "resnet", (32, 32)),
        ((400, 300), True, "resnet", (64, 48)),
    ],
)
def test_model_and_size_suit_the_images(
    tmp_path: Path, *, size: tuple[int, int], rgb: bool, model: str, stored: tuple[int, int]
) -> None:
    folder = observe_folder(make_images(tmp_path, "cats", "dogs", size=size, rgb=rgb))

    assert (folder.width, folder.height) == stored
    assert (folder.is_gray, choose(folder).model) == (not rgb, model)


def test_colour_files_of_gray_images_count_as_gray(tmp_path: Path) -> None:
    make_images(tmp_path, "a", "b")
    for path in tmp_path.rglob("*.png"):
        Image.open(path).convert("RGB").save(path)

    assert observe_folder(tmp_path).is_gray


def test_split_folders_are_recognised_when_they_hold_the_classes(tmp_path: Path) -> None:
    make_images(tmp_path / "Train", "a", "b", count=10)
    make_images(tmp_path / "val", "a", "b")

    assert observe_folder(tmp_path).splits == {"train": "Train", "validation": "val"}


@pytest.mark.parametrize("name", ['we"ird', "new\nline", "#comment: x", "ünïcode", "a: {b"])
def test_manifests_are_valid_whatever_folders_are_called(tmp_path: Path, name: str) -> None:
    root = make_images(tmp_path / name, name, "plain")
    file = tmp_path / f"{derive_name(root)}.yaml"
    folder = observe_folder(root)
    file.write_text(format_manifests(folder, choose(folder), file=file))
    claim, dataset, job = read_manifests([file])

    assert claim.body["metadata"]["annotations"]["oarlock.dev/local-folder"] == str(root)
    assert dataset.body["spec"]["source"]["volume"]["claim"] == claim.name
    assert job.body["spec"]["dataset"]["name"] == dataset.name


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("flowers", "flowers"),
        ("My Flowers (2)", "my-flowers-2"),
        ("2024", "images-2024"),
        ("x" * 99, "x" * 28),
        ("日本", "images"),
    ],
)
def test_object_is_named_after_the_folder(folder: str, name: str) -> None:
    assert derive_name(Path("/data") / folder) == name
    assert derive_name(Path("/data") / folder, taken=[name]).startswith(f"{name}-")


def write_boxes(folder: Path, line: str) -> Path:
    make_images(folder, "images", size=(300, 200), rgb=True)
    (folder / "labels").mkdir()
    for number in range(4):
        (folder / f"labels/{number}.txt").write_text("" if number == 0 else line)
    return folder


def write_masks(folder: Path) -> Path:
    (folder / "classes.txt").write_text("0 a\n1 b\n")
    for split in ("train", "val"):
        make_images(folder / split, "images", "masks", size=(44, 24))
    return folder


def write_texts(folder: Path) -> Path:
    for name in ("ham", "spam"):
        (folder / name).mkdir()
        for number in range(8):
            (folder / name / f"{number}.txt").write_text("hello")
    return folder


@pytest.mark.parametrize(
    ("write", "task", "layout", "model", "form"),
    [
        (
            lambda folder: write_boxes(folder, "Car 0 0 0 1 2 3 4\n"),
            "objectDetection",
            {"kitti": {"images": "images", "labels": "labels"}},
            "centernet-small",
            {"image": {"width": 256, "height": 176, "channels": "rgb", "resize": "squash"}},
        ),
        (
            write_masks,
            "segmentation",
            {"pairs": {"images": "images", "masks": "masks", "classMap": "classes.txt"}},
            "unet-small",
            {"image": {"width": 48, "height": 32, "channels": "gray", "resize": "squash"}},
        ),
        (
            write_texts,
            "textClassification",
            {"folders": {}},
            "textcnn",
            {"text": {"tokens": "words", "maxLength": 256}},
        ),
    ],
    ids=["boxes", "masks", "texts"],
)
def test_task_and_layout_follow_from_the_names_in_the_folder(
    tmp_path: Path,
    *,
    write: Callable[[Path], Path],
    task: str,
    layout: dict[str, Any],
    model: str,
    form: dict[str, Any],
) -> None:
    folder = observe_folder(write(tmp_path))
    file = tmp_path / "found.yaml"
    file.write_text(format_manifests(folder, choose(folder), file=file))
    _, dataset, job = read_manifests([file])
    spec = dataset.body["spec"]

    assert (spec["task"], spec["layout"], job.body["spec"]["model"]) == (task, layout, {"name": model})
    assert {name: spec[name] for name in ("image", "text") if name in spec} == form
    resolved = resolve_job(job, dataset=dataset.body, machine=Machine(cpus=2, memory=2**33), nodes=None)
    assert resolved.run["model"]["name"] == model, "the job fits the data before it is imported"


def test_folders_called_images_and_labels_are_classes_when_they_hold_no_boxes_of_kitti(tmp_path: Path) -> None:
    make_images(tmp_path, "images", "labels")

    assert observe_folder(tmp_path).classes == ("images", "labels")


@pytest.mark.parametrize(
    "line", ["0 0.5 0.5 0.25 0.1\n", "1 0.1 0.1 0.9 0.1 0.9 0.9 0.1 0.9\n", "Car\n"], ids=["boxes", "polygons", "names"]
)
def test_labels_beside_images_are_refused_with_the_way_to_convert_them_when_they_are_not_of_kitti(
    tmp_path: Path, line: str
) -> None:
    labels = write_boxes(tmp_path, line) / "labels"
    with pytest.raises(UnsuitableFolderError, match=r"1\.txt begins with .*KITTI and COCO.*left = \(x - width / 2\)"):
        observe_folder(tmp_path)

    (labels / "train").mkdir()
    for path in labels.glob("*.txt"):
        path.rename(labels / "train" / path.name)
    with pytest.raises(UnsuitableFolderError, match=r"train/1\.txt begins with"):
        observe_folder(tmp_path)


def test_folder_is_refused_with_a_remedy_when_it_holds_no_classes(tmp_path: Path) -> None:
    make_images(tmp_path, "only")
    with pytest.raises(UnsuitableFolderError, match="add at least one more class folder"):
        observe_folder(tmp_path)


def test_folder_is_refused_when_nothing_in_it_is_an_image(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.png").write_text("no image")
    with pytest.raises(UnsuitableFolderError, match="none of 2 files could be read as an image"):
        observe_folder(tmp_path)


def test_manifests_of_before_are_used_when_the_user_changed_them(tmp_path: Path) -> None:
    images, runs = make_images(tmp_path / "shapes", "a", "b"), RunsFolder(root=tmp_path / "runs")
    told: list[str] = []
    read_inputs([images], runs=runs, tell=told.append)
    file = runs.root / "shapes.yaml"
    file.write_text(file.read_text().replace("epochs: 30", "epochs: 7"))
    job = read_inputs([images], runs=runs, tell=told.append)[-1]
    fresh = read_inputs([images], runs=runs, fresh=True)[-1]

    assert (job.body["spec"]["recipe"]["epochs"], fresh.body["spec"]["recipe"]["epochs"]) == (7, 30)
    assert [words in text for words, text in zip(("kind:", "Saved as", "from before"), told, strict=True)] == [True] * 3


def test_two_folders_of_one_name_get_manifests_of_their_own(tmp_path: Path) -> None:
    runs = RunsFolder(root=tmp_path / "runs")
    for parent in ("one", "two"):
        read_inputs([make_images(tmp_path / parent / "shapes", "a", "b")], runs=runs)

    files = list(runs.root.glob("*.yaml"))
    assert len(files) == 2
    assert len({next(yaml.safe_load_all(file.read_text()))["metadata"]["name"] for file in files}) == 2


def test_nothing_is_saved_when_it_is_only_to_be_shown(tmp_path: Path) -> None:
    images, runs = make_images(tmp_path / "shapes", "a", "b"), RunsFolder(root=tmp_path / "runs")
    manifests = read_inputs([images], runs=runs, save=False)

    assert [manifest.kind for manifest in manifests] == ["PersistentVolumeClaim", "Dataset", "TrainingJob"]
    assert not runs.root.exists()


def test_folders_of_manifests_and_of_images_are_told_apart(tmp_path: Path) -> None:
    images = make_images(tmp_path / "images", "a", "b")
    (images / "notes.json").write_text("{}")
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain/job.yaml").touch()
    (tmp_path / "nested/inside").mkdir(parents=True)
    (tmp_path / "nested/inside/job.yml").touch()

    answers = [is_image_folder(tmp_path / name) for name in ("images", "plain", "nested", "missing", "plain/job.yaml")]
    assert answers == [True, False, False, False, False]


def test_what_is_set_wins_over_what_was_inferred(tmp_path: Path) -> None:
    images, runs = make_images(tmp_path / "shapes", "a", "b"), RunsFolder(root=tmp_path / "runs")
    texts = ("spec.recipe.maxSteps=3", "spec.model.timm.name=resnet18")
    for _ in range(2):  # the second time, the manifests of before are used
        job = read_inputs([images], runs=runs, overrides=[parse_override(text) for text in texts])[-1]
        assert "epochs" not in job.body["spec"]["recipe"]
        assert job.body["spec"]["recipe"]["maxSteps"] == 3
        assert job.body["spec"]["model"] == {"timm": {"name": "resnet18"}}


def test_nothing_is_saved_when_what_is_set_is_wrong(tmp_path: Path) -> None:
    images, runs = make_images(tmp_path / "shapes", "a", "b"), RunsFolder(root=tmp_path / "runs")
    for texts in (("spec.recipe.epochz=3",), ("spec.recipe.maxSteps=3", "spec.recipe.epochs=2")):
        with pytest.raises(ManifestsError):
            read_inputs([images], runs=runs, overrides=[parse_override(text) for text in texts])

    assert not runs.root.exists()
