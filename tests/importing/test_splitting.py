"""How samples are divided: exact shares, nothing lost, nothing doubled, the same for the same seed."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oarlock_api.v1alpha1.dataset import Split
from oarlock_trainer.errors import ConfigError
from oarlock_trainer.importing.samples import SPLITS, FileSamples, Listing, index_classes, undivided
from oarlock_trainer.importing.split import divide, share_out


def make_listing(labels: list[int], given_splits: list[int] | None = None) -> Listing:
    return Listing(
        classes=[str(index) for index in range(max(labels) + 1)],
        samples=FileSamples(root=Path(), paths=[f"{index}.png" for index in range(len(labels))]),
        labels=np.array(labels, dtype=np.int32),
        given=undivided(len(labels)) if given_splits is None else np.array(given_splits, dtype=np.int8),
    )


many_labels = st.lists(st.integers(0, 6), min_size=1, max_size=200)
shares = st.tuples(st.floats(0, 0.6), st.floats(0, 0.39))


@given(labels=many_labels, share=shares, seed=st.integers(0, 2**31 - 1))
def test_every_sample_is_in_exactly_one_split(labels: list[int], share: tuple[float, float], seed: int) -> None:
    parts = divide(make_listing(labels), Split(validation=share[0], test=share[1], seed=seed))

    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(len(labels)))


@given(labels=many_labels, share=shares, seed=st.integers(0, 2**31 - 1))
def test_division_is_the_same_when_the_seed_is(labels: list[int], share: tuple[float, float], seed: int) -> None:
    split = Split(validation=share[0], test=share[1], seed=seed)
    first, second = divide(make_listing(labels), split), divide(make_listing(labels), split)

    assert {name: rows.tolist() for name, rows in first.items()} == {
        name: rows.tolist() for name, rows in second.items()
    }


def test_division_differs_when_the_seed_does() -> None:
    listing = make_listing([0, 1] * 50)
    first, second = (divide(listing, Split(seed=seed))["validation"].tolist() for seed in (0, 1))

    assert sorted(first) != sorted(second)


@given(labels=many_labels, share=shares)
def test_each_class_gives_its_share_rounded_and_keeps_one_for_training(
    labels: list[int], share: tuple[float, float]
) -> None:
    parts = divide(make_listing(labels), Split(validation=share[0], test=share[1]))
    sizes = np.bincount(labels)
    for name, part in zip(("validation", "test"), share, strict=True):
        counts = np.bincount(np.array(labels)[parts.get(name, np.array([], dtype=np.int64))], minlength=len(sizes))
        assert (counts <= np.ceil(sizes * part)).all()
    train = np.bincount(np.array(labels)[parts["train"]], minlength=len(sizes))
    assert (train[sizes > 0] >= 1).all()


@given(sizes=st.lists(st.integers(10, 500), min_size=1, max_size=40), share=st.floats(0, 0.8))
def test_a_split_has_exactly_its_share_when_every_class_has_room(sizes: list[int], share: float) -> None:
    array = np.array(sizes, dtype=np.int64)
    counts = share_out(array, share, room=array - 1)

    assert abs(counts.sum() - array.sum() * share) <= 0.5 + 1e-6
    assert (np.abs(counts - array * share) < 1 + 1e-6).all()


def test_share_goes_to_the_largest_remainders_when_classes_are_small() -> None:
    sizes = np.array([5, 6, 7, 2], dtype=np.int64)

    assert share_out(sizes, 0.25, room=sizes - 1).tolist() == [1, 2, 2, 0]


def test_rows_of_a_split_are_mixed_when_the_source_is_sorted_by_class() -> None:
    labels = [0] * 200 + [1] * 200
    train = divide(make_listing(labels), Split())["train"]

    assert 60 < np.array(labels)[train[:150]].sum() < 90


def test_samples_stay_where_the_source_puts_them_when_it_says_so() -> None:
    listing = make_listing([0, 1, 0, 1, 0, 1, 0, 1], given_splits=[-1, -1, -1, -1, 1, 1, -1, -1])
    parts = divide(listing, Split(validation=0.5, test=0.34))

    assert sorted(parts["validation"].tolist()) == [4, 5]
    assert {name: len(rows) for name, rows in parts.items()} == {"train": 4, "validation": 2, "test": 2}


def test_division_is_refused_when_nothing_is_left_to_train_on() -> None:
    with pytest.raises(ConfigError, match=r"validation 0\.75 and test 0\.25 add up to 1") as caught:
        divide(make_listing([0, 1, 0, 1]), Split(validation=0.75, test=0.25))
    assert "lower spec.split" in caught.value.remedy


def test_division_never_changes_between_releases() -> None:
    """Another order would give every imported data set a new version, and its checkpoints a mismatch."""
    parts = divide(make_listing([0, 1] * 6), Split(seed=7))

    assert {name: rows.tolist() for name, rows in parts.items()} == {
        "train": [6, 3, 2, 11, 7, 5, 9, 10, 0],
        "validation": [8, 4, 1],
    }


def test_classes_are_ordered_as_numbers_when_they_are_numbers() -> None:
    assert index_classes(["10", "9", "10"])[0] == ["9", "10"]
    assert index_classes(["b", "a", "2", "10"])[0] == ["2", "10", "a", "b"]
    assert index_classes(["b", "a", "b"])[1].tolist() == [1, 0, 1]
    assert SPLITS[0] == "train"
