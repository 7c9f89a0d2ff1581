"""One folder per class: what is found, and what is said when it is not laid out that way."""

import os
from pathlib import Path

import numpy as np
import pytest
from importing.made_sources import encode, import_from, make_pixels, volume_spec, write_class_folders

from oarlock_api.contract import Cause
from oarlock_trainer.datasets import open_dataset
from oarlock_trainer.errors import DataCorruptError, TrainerError
from oarlock_trainer.importing.folders import scan_folders
from oarlock_trainer.importing.plain_files import resolve_inside


def touch(path: Path, content: bytes = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_classes_and_files_are_sorted_when_the_file_system_is_not(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/1.JPG", "a/deep/er/3.png", "a/4.png"):
        touch(tmp_path / name)

    assert scan_folders(tmp_path).classes == {"a": ["a/4.png", "a/deep/er/3.png"], "b": ["b/1.JPG", "b/2.png"]}


def test_hidden_files_are_left_out_and_others_counted(tmp_path: Path) -> None:
    for name in (
        "a/1.png",
        "b/1.png",
        "a/.DS_Store",
        ".git/x.png",
        "__MACOSX/a/1.png",
        "a/1.json",
        "b/2.json",
        "b/README",
    ):
        touch(tmp_path / name)
    scan = scan_folders(tmp_path)

    assert list(scan.classes) == ["a", "b"]
    assert scan.count == 2
    assert scan.ignored == {".json": 2, "no ending": 1}


def test_links_are_followed_once_when_they_lead_back_up(tmp_path: Path) -> None:
    write_class_folders(tmp_path, each=2)
    (tmp_path / "cat" / "loop").symlink_to(tmp_path / "cat")
    (tmp_path / "linked").symlink_to(tmp_path / "dog")

    assert {name: len(paths) for name, paths in scan_folders(tmp_path).classes.items()} == {
        "cat": 2,
        "dog": 2,
        "linked": 2,
    }


@pytest.mark.parametrize(
    ("files", "cause", "message", "remedy"),
    [
        ([], Cause.DATA_MISSING, "holds no class folders", "one folder of images per class"),
        (["1.png", "2.png"], Cause.CONFIG_INVALID, "holds 2 images but no class folders", "make one folder per class"),
        (["a/1.png"], Cause.CONFIG_INVALID, "holds a single class, 'a'", "at least one more class"),
        (["a/b/1.png", "a/c/1.png"], Cause.CONFIG_INVALID, "single folder, 'a', which holds folders", "as the source"),
        (["a/1.png", "b/1.png", "c.png"], Cause.CONFIG_INVALID, r"beside the class folders: c\.png", "move them into"),
        (["a/1.png", "b/"], Cause.DATA_MISSING, "class folders without images in .*: b", "add images (.bmp"),
        (
            ["a/1.png", "b/x.txt"],
            Cause.DATA_MISSING,
            r"without images in .*: b; files with other endings: 1 \.txt",
            "add",
        ),
        (
            ["train/a/1.png", "val/a/1.png"],
            Cause.CONFIG_INVALID,
            "are splits, not classes: train, val",
            "split.folders",
        ),
    ],
    ids=["empty", "loose", "one", "nested", "beside", "no images", "other files", "splits"],
)
def test_layout_is_explained_when_it_is_another(
    tmp_path: Path, files: list[str], cause: Cause, message: str, remedy: str
) -> None:
    for name in files:
        (tmp_path / name).mkdir() if name.endswith("/") else touch(tmp_path / name)

    with pytest.raises(TrainerError, match=message) as caught:
        scan_folders(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert caught.value.cause is cause
    assert remedy in caught.value.remedy


def test_folder_is_named_when_it_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match="nowhere does not exist"):
        scan_folders(tmp_path / "nowhere")
    with pytest.raises(TrainerError, match="is a file, not a folder"):
        scan_folders(touch(tmp_path / "file"))


def test_images_keep_pixels_and_labels_when_they_are_imported(tmp_path: Path) -> None:
    source = write_class_folders(tmp_path / "raw")
    spec = volume_spec(image={"channels": "gray"}, split={"validation": 0.25, "test": 0.125})
    facts = import_from(source, tmp_path / "data" / "pets-1", spec)

    dataset = open_dataset(tmp_path / "data" / facts.path)
    assert facts.counts == {"train": 10, "validation": 4, "test": 2}
    assert facts.class_counts == {"train": [5, 5], "validation": [2, 2], "test": [1, 1]}
    assert facts.sample_shape == [8, 8, 1]
    stored: dict[bytes, int] = {}
    for name, count in facts.counts.items():
        images, labels = dataset.split(name).gather(np.arange(count))
        stored |= {image.tobytes(): int(label) for image, label in zip(images, labels, strict=True)}
    expected = {make_pixels(label * 1000 + index).tobytes(): label for label in (0, 1) for index in range(8)}
    assert stored == expected


def test_size_and_channels_are_those_of_the_first_image_when_the_spec_is_silent(tmp_path: Path) -> None:
    source = write_class_folders(tmp_path / "raw")
    touch(source / "cat" / "000.png", encode(make_pixels(0, height=5, width=6)))

    assert import_from(source, tmp_path / "data").sample_shape == [5, 6, 3]


def test_import_goes_on_and_names_each_file_when_some_are_broken(tmp_path: Path) -> None:
    source = write_class_folders(tmp_path / "raw", each=20)
    whole = encode(make_pixels(9, height=64, width=64))
    touch(source / "cat" / "empty.png")
    touch(source / "cat" / "text.png", b"hello")
    touch(source / "dog" / "cut.png", whole[: len(whole) // 2])
    os.mkfifo(source / "dog" / "pipe.png")
    (source / "dog" / "dangling.png").symlink_to("nowhere")
    facts = import_from(source, tmp_path / "data")

    manifest = open_dataset(tmp_path / facts.path).manifest
    assert {reject.path: reject.reason.partition(":")[0] for reject in manifest.rejects} == {
        "cat/empty.png": "the file is empty",
        "cat/text.png": "the content is not that of an image file",
        "dog/cut.png": "it cannot be decoded",
        "dog/dangling.png": "it is a link that leads nowhere",
        "dog/pipe.png": "it is not a file",
    }
    assert facts.rejected == 5
    assert sum(facts.counts.values()) == 40
    assert facts.first_rejects[0] == "cat/empty.png: the file is empty"


def test_import_fails_when_too_many_files_are_broken(tmp_path: Path) -> None:
    source = write_class_folders(tmp_path / "raw", each=20)
    for index in range(6):
        touch(source / "cat" / f"broken{index}.png")

    with pytest.raises(DataCorruptError, match=r"6 of 46 files were refused, more than 5%: cat/broken") as caught:
        import_from(source, tmp_path / "data")
    assert "repair or remove" in caught.value.remedy
    assert not list((tmp_path / "data").glob("[!.]*")), "nothing of it is visible"


def test_import_fails_when_a_class_loses_all_but_one(tmp_path: Path) -> None:
    source = write_class_folders(tmp_path / "raw", each=4)
    for index in range(3):
        touch(source / "dog" / f"{index:03d}.png", b"broken")

    with pytest.raises(TrainerError, match=r"'dog' has 1, \d of them for training after 3 were refused") as caught:
        import_from(source, tmp_path / "data")
    assert caught.value.cause is Cause.DATA_MISSING


def test_import_fails_when_no_image_can_be_read(tmp_path: Path) -> None:
    for name in ("a/1.png", "a/2.png", "b/1.png", "b/2.png"):
        touch(tmp_path / "raw" / name, b"broken")

    with pytest.raises(DataCorruptError, match=r"none of the first 4 images of .* can be read; a/1\.png"):
        import_from(tmp_path / "raw", tmp_path / "data")


def test_splits_are_those_of_the_folders_when_they_are_named(tmp_path: Path) -> None:
    for name, each in (("train", 6), ("val", 3), ("test", 2)):
        write_class_folders(tmp_path / "raw" / name, each=each)
    folders = {"train": "train", "validation": "val", "test": "test"}
    facts = import_from(tmp_path / "raw", tmp_path / "data", volume_spec(split={"folders": folders}))

    assert facts.counts == {"train": 12, "validation": 6, "test": 4}


def test_validation_is_split_off_when_only_a_training_folder_is_named(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "raw" / "train", each=8)
    write_class_folders(tmp_path / "raw" / "test", each=2)
    folders = {"train": "train", "test": "test"}
    facts = import_from(tmp_path / "raw", tmp_path / "data", volume_spec(split={"folders": folders}))

    assert facts.counts == {"train": 12, "validation": 4, "test": 4}


def test_import_fails_when_the_folders_of_two_splits_hold_other_classes(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "train", classes=("cat", "dog"))
    write_class_folders(tmp_path / "val", classes=("cat", "fox"))
    spec = volume_spec(split={"folders": {"train": "train", "validation": "val"}})

    with pytest.raises(TrainerError, match="the classes in val are not those in train: it has fox and lacks dog"):
        import_from(tmp_path, tmp_path / "data", spec)


def test_path_is_refused_when_it_leads_out_of_the_source(tmp_path: Path) -> None:
    """The API refuses such a path; whoever writes the variables of a pod by hand gets no further."""
    for path in ("../other", "/etc/passwd"):
        with pytest.raises(TrainerError, match="leads out of the source"):
            resolve_inside(tmp_path / "raw", path)


def test_names_that_are_not_utf8_are_read_and_shown_with_what_is_wrong_replaced(tmp_path: Path) -> None:
    source = write_class_folders(tmp_path / "raw", each=4)
    (source / "cat" / "000.png").rename(source / "cat" / os.fsdecode(b"\xff.png"))
    touch(source / "cat" / os.fsdecode(b"broken\xfe.png"))
    touch(source / "cat" / os.fsdecode(b"other.\xfe"))
    manifest = open_dataset(tmp_path / import_from(source, tmp_path / "data").path).manifest

    assert sum(manifest.counts.values()) == 8
    assert [reject.path for reject in manifest.rejects] == ["cat/broken\N{REPLACEMENT CHARACTER}.png"]
    assert manifest.ignored == {".\N{REPLACEMENT CHARACTER}": 1}
    (source / os.fsdecode(b"fox\xff")).mkdir()
    with pytest.raises(TrainerError, match=r"names of class folders in .* are not UTF-8: fox"):
        scan_folders(source)


def test_facts_stay_small_when_there_are_many_classes(tmp_path: Path) -> None:
    source = write_class_folders(tmp_path / "raw", classes=tuple(f"class{index:03d}" for index in range(60)), each=2)
    facts = import_from(source, tmp_path / "data", volume_spec(split={"validation": 0.5}))

    assert facts.class_count == 60
    assert len(facts.classes) == 50
    assert facts.class_counts == {"train": [1] * 50, "validation": [1] * 50}
