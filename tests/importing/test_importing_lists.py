"""Lists of files whose labels are places in a file of names, as DIGITS writes them, or names: never a guess between the two."""

from pathlib import Path

import pytest

from oarlock_api.v1alpha1.dataset import TextFilesLayout
from oarlock_trainer.errors import DataCorruptError
from oarlock_trainer.importing.file_lists import list_file_lists

LAYOUT = TextFilesLayout.from_wire({"train": "train.txt", "labels": "labels.txt"})


def read_classes(folder: Path, *, names: list[str], labels: list[str]) -> list[str]:
    """Return the class of each of some files, which have these labels."""
    (folder / "labels.txt").write_text("\n".join(names))
    for number in range(len(labels)):
        (folder / f"{number}.png").touch()
    (folder / "train.txt").write_text("".join(f"{number}.png {label}\n" for number, label in enumerate(labels)))
    listing = list_file_lists(folder, LAYOUT, beat=lambda: None)
    return [listing.classes[number] for number in listing.labels]


def test_places_are_places_when_names_are_numbers_in_another_order(tmp_path: Path) -> None:
    names = sorted(str(number) for number in range(1, 13))

    assert read_classes(tmp_path, names=names, labels=[str(place) for place in range(12)]) == names


def test_names_are_names_when_one_of_them_is_no_place(tmp_path: Path) -> None:
    assert read_classes(tmp_path, names=["1", "7"], labels=["7", "1"]) == ["7", "1"]


def test_both_readings_are_one_when_names_are_their_places(tmp_path: Path) -> None:
    assert read_classes(tmp_path, names=["0", "1", "2"], labels=["2", "0"]) == ["2", "0"]


@pytest.mark.parametrize(
    ("names", "labels", "message"),
    [
        (["1", "0"], ["0", "1"], "may be names in .* and mean other classes then: '0' is one of them"),
        (["good", "bad"], ["good", "1"], "the label 'good' is a name in .*, and the label '1' a place"),
        (["good", "bad"], ["good", "ugly"], "the label 'ugly' is neither"),
    ],
)
def test_labels_are_refused_when_they_can_be_read_in_two_ways_or_none(
    tmp_path: Path, names: list[str], labels: list[str], message: str
) -> None:
    with pytest.raises(DataCorruptError, match=message):
        read_classes(tmp_path, names=names, labels=labels)
