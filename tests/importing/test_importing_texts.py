"""Texts: from folders, tables and lists to numbers, by a vocabulary that only the training samples decide."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from importing.made_sources import encode, import_from, make_pixels, volume_spec

from oarlock_api.v1alpha1.dataset import Tokens
from oarlock_trainer.datasets import StoredDataset, Tokenizer, open_dataset
from oarlock_trainer.datasets.tokens import choose_words, count_words, read_words
from oarlock_trainer.errors import ConfigError, DataCorruptError, TrainerError

WORDS = {"tokens": "words", "maxLength": 8}


def import_texts(source: Path, data: Path, layout: dict[str, Any], **spec: Any) -> StoredDataset:
    full = volume_spec(task="textClassification", layout=layout, **{"text": WORDS, **spec})
    return open_dataset(data / import_from(source, data, full).version)


def texts_of(stored: StoredDataset, split: str) -> list[str]:
    tokenizer = stored.tokenizer()
    assert tokenizer
    words = ["", "?", *tokenizer.words]
    rows = stored.split(split).gather(np.arange(stored.manifest.counts[split]))[0]
    return [" ".join(words[number] for number in row if number) for row in rows]


def write_texts(root: Path, *, each: int = 8) -> Path:
    for name, word in (("ham", "hello"), ("spam", "BUY")):
        (root / name).mkdir(parents=True)
        for index in range(each):
            (root / name / f"{index}.txt").write_text(f"{word}, number{index} now!")
    return root


def test_texts_of_folders_become_numbers_of_words(tmp_path: Path) -> None:
    stored = import_texts(write_texts(tmp_path / "raw"), tmp_path / "data", {"folders": {}})
    manifest = stored.manifest

    assert manifest.classes == ["ham", "spam"]
    assert manifest.class_counts == {"train": [6, 6], "validation": [2, 2]}
    assert manifest.vocabulary
    assert manifest.vocabulary.size == len(stored.tokenizer().words) + 2  # type: ignore[union-attr]
    assert read_words(stored.folder / "vocabulary.txt")[:3] == ["!", ",", "now"]
    first, label = stored.split("train").gather(np.array([0]))
    assert texts_of(stored, "train")[0].startswith(("hello , number", "buy , number")[int(label[0])])
    assert first.dtype == np.uint16


def test_words_of_held_out_texts_are_unknown(tmp_path: Path) -> None:
    stored = import_texts(write_texts(tmp_path / "raw"), tmp_path / "data", {"folders": {}})
    trained = {word for text in texts_of(stored, "train") for word in text.split()}

    assert trained == set(stored.tokenizer().words)  # type: ignore[union-attr]
    held_out = [text.split()[2] for text in texts_of(stored, "validation")]
    assert all(word == "?" or word in trained for word in held_out)


def test_texts_that_are_not_utf_8_are_read_and_counted_and_empty_ones_refused(tmp_path: Path) -> None:
    source = write_texts(tmp_path / "raw")
    (source / "ham/3.txt").write_bytes("grüße".encode("latin-1"))
    (source / "ham/4.txt").write_bytes(b" \n")
    stored = import_texts(source, tmp_path / "data", {"folders": {}}, split={"validation": 0.01})

    assert stored.manifest.remarks == {"texts that are not UTF-8, read as Latin-1": 1}
    assert "grüße" in stored.tokenizer().words  # type: ignore[union-attr]
    assert [(reject.path, reject.reason) for reject in stored.manifest.rejects] == [("ham/4.txt", "the text is empty")]


def test_texts_of_a_table_are_those_of_their_rows_when_they_hold_separators_and_lines(tmp_path: Path) -> None:
    rows = "".join(f'{index % 2},"a, ""b""\nline{index}",x\n' for index in range(12))
    (tmp_path / "t.csv").write_text("kind,text,more\n" + rows)
    layout = {"csv": {"label": 0, "text": 1, "header": True}}
    stored = import_texts(tmp_path / "t.csv", tmp_path / "data", layout, split={"validation": 0.2})

    assert stored.manifest.classes == ["0", "1"]
    trained = texts_of(stored, "train")
    assert all(text.startswith('a , " b " line') for text in trained)
    assert len(set(trained)) == 10


def test_table_is_read_as_latin_1_when_it_is_not_utf_8(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(
        "".join(f"ja\tgr\xfc\xdfe {i}\nnein\tweg {i}\n" for i in range(8)).encode("latin-1")
    )
    layout = {"csv": {"label": 0, "text": 1, "separator": "tab"}}
    stored = import_texts(tmp_path / "t.csv", tmp_path / "data", layout)

    assert "grüße" in stored.tokenizer().words  # type: ignore[union-attr]
    assert list(stored.manifest.remarks.values()) == [16]


@pytest.mark.parametrize(
    ("table", "layout", "kind", "message"),
    [
        ("a,b\n", {"label": 0, "text": 5}, ConfigError, r"csv\.text is 5, but .* has 2 columns"),
        ("a,b\n", {"label": 1, "text": -1}, ConfigError, "both as label and as text"),
        ("a,b\nc\n", {"label": 0, "text": 1}, DataCorruptError, "line 2 .* has 1 columns, the lines above 2"),
        ("a,b\n ,c\n", {"label": 0, "text": 1}, DataCorruptError, "line 2 .* has no label in column 0"),
        ("", {"label": 0, "text": 1}, TrainerError, "holds no rows"),
    ],
    ids=["no such column", "one for both", "short row", "no label", "empty"],
)
def test_table_is_refused_by_line_and_setting(
    tmp_path: Path, table: str, layout: dict[str, Any], kind: type[TrainerError], message: str
) -> None:
    (tmp_path / "t.csv").write_text(table)

    with pytest.raises(kind, match=message):
        import_texts(tmp_path / "t.csv", tmp_path / "data", {"csv": layout})


def test_lists_name_texts_and_classes(tmp_path: Path) -> None:
    source = write_texts(tmp_path / "raw")
    lines = [f"{name}/{index}.txt {label}" for label, name in enumerate(("ham", "spam")) for index in range(8)]
    elsewhere = source / "ham/0.txt"
    (source / "train.txt").write_text("\n".join([*lines, "ham/none.txt 0", f"{elsewhere} 0"]))
    (source / "val.txt").write_text("ham/7.txt 0\n")
    (source / "names.txt").write_text("good\nbad\n")
    layout = {"textFiles": {"train": "train.txt", "validation": "val.txt", "labels": "names.txt"}}
    stored = import_texts(source, tmp_path / "data", layout)

    assert stored.manifest.classes == ["good", "bad"]
    assert stored.manifest.class_counts == {"train": [8, 8], "validation": [1, 0]}
    assert {reject.path: reject.reason for reject in stored.manifest.rejects} == {
        "ham/none.txt": "line 17 of train.txt names it, and it is not there",
        str(elsewhere): "line 18 of train.txt names it, "
        "from the root of a machine: write the path relative to the source, without / at the beginning",
    }
    (source / "names.txt").write_text("good\n")
    with pytest.raises(DataCorruptError, match="the label '1' is neither one of the 1 names"):
        import_texts(source, tmp_path / "other", layout)


def test_lists_name_images_too(tmp_path: Path) -> None:
    for index in range(8):
        (tmp_path / f"an image {index}.png").write_bytes(encode(make_pixels(index)))
    lines = [f"an image {index}.png {'ab'[index % 2]}" for index in range(8)]
    (tmp_path / "list.txt").write_text("\n".join(lines) + "\n\n")
    facts = import_from(tmp_path, tmp_path / "data", volume_spec(layout={"textFiles": {"train": "list.txt"}}))

    assert (facts.classes, facts.counts) == (["a", "b"], {"train": 6, "validation": 2})


def test_characters_are_bytes_when_the_spec_says_so(tmp_path: Path) -> None:
    text = {"tokens": "characters", "maxLength": 4}
    stored = import_texts(write_texts(tmp_path / "raw"), tmp_path / "data", {"folders": {}}, text=text)
    rows = stored.split("train").gather(np.arange(12))[0]

    assert {bytes((row - 2).astype(np.uint8)) for row in rows} == {b"hell", b"BUY,"}
    assert stored.manifest.vocabulary
    assert (stored.manifest.vocabulary.size, stored.manifest.vocabulary.words) == (258, None)


@given(st.text(max_size=40), st.integers(1, 12), st.sampled_from(Tokens))
def test_numbers_are_below_the_size_and_padding_is_at_the_end(text: str, length: int, tokens: Tokens) -> None:
    tokenizer = Tokenizer(tokens=tokens, length=length, words=["a", "é"] if tokens is Tokens.WORDS else [])
    row = tokenizer.encode(text)

    assert row.shape == (length,)
    assert int(row.max()) < tokenizer.size
    filled = int(np.count_nonzero(row))
    assert not row[filled:].any()
    if tokens is Tokens.CHARACTERS:
        assert bytes((row[:filled] - 2).astype(np.uint8)) == text.encode()[:length]
    else:
        assert filled == min(length, sum(count_words(text).values()))


def test_the_most_frequent_words_are_chosen_and_equal_ones_by_spelling() -> None:
    assert choose_words(count_words("b a c C b x_1"), most=3) == ["b", "c", "a"]
