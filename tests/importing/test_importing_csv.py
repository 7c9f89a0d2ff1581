"""Tables with one image per row: what is read, and which line is named when it cannot be."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from importing.made_sources import import_from, make_pixels, volume_spec, write_csv

from oarlock_api.contract import Cause, DatasetFacts
from oarlock_trainer.datasets import open_dataset
from oarlock_trainer.errors import TrainerError


def make_rows(count: int = 12, *, pixels: int = 16, label: int = -1) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for index in range(count):
        row: list[Any] = make_pixels(index, height=1, width=pixels)[0].tolist()
        row.insert(len(row) if label == -1 else label, index % 3)
        rows.append(row)
    return rows


def import_csv(source: Path, data: Path, *, image: dict[str, Any] | None = None, **layout: Any) -> DatasetFacts:
    spec = volume_spec(layout={"csv": layout}, **({"image": image} if image else {}))
    return import_from(source, data, spec)


def read_back(data: Path, facts: DatasetFacts) -> dict[bytes, int]:
    dataset = open_dataset(data.parent / facts.path)
    found: dict[bytes, int] = {}
    for split, count in facts.counts.items():
        images, labels = dataset.split(split).gather(np.arange(count))
        found |= {image.tobytes(): int(label) for image, label in zip(images, labels, strict=True)}
    return found


@pytest.mark.parametrize("name", ["table.csv", "table.csv.gz"])
@pytest.mark.parametrize("label", [-1, 0, 5])
def test_pixels_and_labels_come_back(tmp_path: Path, name: str, label: int) -> None:
    source = write_csv(tmp_path / name, make_rows(label=label))
    facts = import_csv(source, tmp_path / "data", label=label)

    assert facts.sample_shape == [4, 4, 1]
    assert facts.classes == ["0", "1", "2"]
    assert read_back(tmp_path / "data", facts) == {
        make_pixels(index, height=1, width=16).tobytes(): index % 3 for index in range(12)
    }


def test_cells_that_only_look_different_mean_the_same(tmp_path: Path) -> None:
    plain = import_csv(write_csv(tmp_path / "a.csv", make_rows()), tmp_path / "a")
    rows = [[f' "{cell}.0"' if index % 2 else f"{cell}.00 " for index, cell in enumerate(row)] for row in make_rows()]
    odd = import_csv(
        write_csv(tmp_path / "b.csv", [[c.replace(' "', '"') for c in row] for row in rows]), tmp_path / "b"
    )

    assert odd.version == plain.version


@pytest.mark.parametrize("ending", ["\r\n", "\n\n"])
def test_line_endings_and_empty_lines_do_not_matter(tmp_path: Path, ending: str) -> None:
    source = write_csv(tmp_path / "a.csv", make_rows())
    other = tmp_path / "b.csv"
    other.write_bytes(b"\xef\xbb\xbf" + source.read_text().replace("\n", ending).encode())

    assert import_csv(other, tmp_path / "b").version == import_csv(source, tmp_path / "a").version


def test_header_is_skipped_when_there_is_one(tmp_path: Path) -> None:
    header = ",".join([*(f"pixel{index}" for index in range(16)), "label"])
    source = write_csv(tmp_path / "a.csv", make_rows(), header=header)

    assert sum(import_csv(source, tmp_path / "data", header=True).counts.values()) == 12


def test_table_is_found_when_the_source_is_its_folder(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    write_csv(tmp_path / "raw" / "only.csv", make_rows())

    assert sum(import_csv(tmp_path / "raw", tmp_path / "data").counts.values()) == 12
    write_csv(tmp_path / "raw" / "second.csv", make_rows())
    with pytest.raises(TrainerError, match=r"holds 2 tables \(only\.csv, second\.csv\)"):
        import_csv(tmp_path / "raw", tmp_path / "data")


def test_images_are_resized_when_the_spec_asks_for_another_size(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "a.csv", make_rows())

    shape = import_csv(source, tmp_path / "data", image={"width": 8, "height": 6, "channels": "rgb"}).sample_shape
    assert shape == [6, 8, 3]


def test_rows_are_of_the_size_in_the_spec_when_they_are_not_square(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "a.csv", make_rows(pixels=12))
    facts = import_csv(source, tmp_path / "data", image={"width": 4, "height": 3})

    assert facts.sample_shape == [3, 4, 1]
    assert make_pixels(0, height=1, width=12).tobytes() in read_back(tmp_path / "data", facts)


def with_cell(row: int, column: int, value: Any) -> list[list[Any]]:
    rows = make_rows()
    rows[row][column] = value
    return rows


@pytest.mark.parametrize(
    ("rows", "layout", "cause", "message"),
    [
        (
            with_cell(4, 3, "abc"),
            {},
            Cause.DATA_CORRUPT,
            r"line 5 of .*t\.csv holds 'abc' in column 3, which is not a number",
        ),
        (with_cell(4, 3, ""), {}, Cause.DATA_CORRUPT, r"line 5 of .* holds '' in column 3"),
        (with_cell(4, 3, "nan"), {}, Cause.DATA_CORRUPT, r"line 5 of .* holds nan in column 3"),
        (with_cell(7, 0, 256), {}, Cause.DATA_CORRUPT, r"line 8 of .* holds 256 in column 0, .* from 0 to 255"),
        (with_cell(7, 0, -1), {}, Cause.DATA_CORRUPT, r"line 8 of .* holds -1 in column 0"),
        (with_cell(7, 0, 0.5), {}, Cause.DATA_CORRUPT, r"line 8 of .* holds 0\.5 in column 0"),
        (with_cell(2, 16, " "), {}, Cause.DATA_CORRUPT, "line 3 of .* has no label in column 16"),
        ([*make_rows(5), [1, 2, 3]], {}, Cause.DATA_CORRUPT, "line 6 of .* has 3 columns, the lines above 17"),
        ([], {}, Cause.DATA_MISSING, "holds no rows"),
        ([[1], [2]], {}, Cause.DATA_CORRUPT, "have a single column"),
        (make_rows(), {"label": 17}, Cause.CONFIG_INVALID, r"label is 17, but .* has 17 columns"),
        (make_rows(pixels=12), {}, Cause.CONFIG_INVALID, "12 pixel columns, which is not the square"),
        ([[*row[:-1], 0] for row in make_rows()], {}, Cause.DATA_MISSING, "holds a single class, '0'"),
        ([*make_rows(), [*range(16), "rare"]], {}, Cause.DATA_MISSING, "'rare' has 1, 1 of them for training"),
    ],
    ids=[
        *("text", "blank", "nan", "bright", "negative", "fraction", "no label"),
        *("ragged", "empty", "single", "label", "oblong", "one class", "rare class"),
    ],
)
def test_fault_is_named(
    tmp_path: Path, rows: list[list[Any]], layout: dict[str, Any], cause: Cause, message: str
) -> None:
    with pytest.raises(TrainerError, match=message) as caught:
        import_csv(write_csv(tmp_path / "t.csv", rows), tmp_path / "data", **layout)
    assert caught.value.cause is cause
    assert caught.value.remedy


def test_header_is_suggested_when_the_first_line_is_one(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "t.csv", make_rows(), header=",".join(["x"] * 17))

    with pytest.raises(TrainerError, match=r"line 1 of .* holds 'x'") as caught:
        import_csv(source, tmp_path / "data")
    assert "set spec.layout.csv.header to true" in caught.value.remedy


def test_broken_gzip_is_named(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "t.csv.gz", make_rows(300))
    source.write_bytes(source.read_bytes()[:-300])

    with pytest.raises(TrainerError, match=r"t\.csv\.gz is a broken gzip file") as caught:
        import_csv(source, tmp_path / "data")
    assert caught.value.cause is Cause.DATA_CORRUPT


@pytest.mark.parametrize("content", [b"\x00\x01\x02,\xff\xfe\n" * 5, b"1,2\n\xff,3\n"], ids=["binary", "latin"])
def test_table_is_refused_when_it_is_not_text(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(content)

    with pytest.raises(TrainerError, match=r"t\.csv") as caught:
        import_csv(tmp_path / "t.csv", tmp_path / "data")
    assert caught.value.cause is Cause.DATA_CORRUPT


def test_gzip_is_recognised_when_the_name_hides_it(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "t.csv", make_rows())
    source.write_bytes(gzip.compress(source.read_bytes()))

    assert sum(import_csv(source, tmp_path / "data").counts.values()) == 12
