import math
from pathlib import Path

import pytest
import torch
from checkpointing.tiny_runs import list_steps, make_checkpointer, make_run, make_state, save_now, train_step
from hypothesis import given
from hypothesis import strategies as st

from oarlock_trainer.checkpoints.retention import StoredCheckpoint, decide_deletions, find_best, find_latest

ACCURACY, LOSS = "validation/accuracy", "validation/loss"
metrics = st.none() | st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([0.1, 0.5, 0.9])
stored = st.builds(
    StoredCheckpoint, step=st.integers(0, 10**6), finite=st.booleans(), metric=metrics, corrupt=st.booleans()
)
checkpoints = st.lists(stored, unique_by=lambda c: c.step, max_size=20)


@given(checkpoints, st.integers(1, 5), st.sampled_from([ACCURACY, LOSS]))
def test_the_latest_and_the_best_stay_whatever_is_stored(found: list[StoredCheckpoint], keep: int, name: str) -> None:
    deleted = set(decide_deletions(found, keep=keep, metric_name=name))
    good = sorted(c.step for c in found if c.is_good)
    best = find_best(found, metric_name=name)

    assert deleted <= {c.step for c in found}
    assert not deleted & set(good[-keep:])
    assert best is None or best.step not in deleted
    assert len(good) - len(deleted & set(good)) <= keep + 1


@given(checkpoints, st.integers(1, 5))
def test_something_good_remains_when_there_was_something_good(found: list[StoredCheckpoint], keep: int) -> None:
    deleted = set(decide_deletions(found, keep=keep, metric_name=ACCURACY))
    remaining = [c for c in found if c.step not in deleted]

    assert find_latest(remaining) == find_latest(found)
    assert find_best(remaining, metric_name=ACCURACY) == find_best(found, metric_name=ACCURACY)
    assert decide_deletions(remaining, keep=keep, metric_name=ACCURACY) == []


@given(checkpoints)
def test_what_is_not_finite_or_corrupt_is_never_latest_or_best(found: list[StoredCheckpoint]) -> None:
    latest = find_latest(found)
    assert latest is None or latest.is_good
    for name in (ACCURACY, LOSS):
        best = find_best(found, metric_name=name)
        assert best is None or (best.is_good and best.metric is not None and math.isfinite(best.metric))


@pytest.mark.parametrize("metric", [math.nan, math.inf, -math.inf])
def test_a_metric_that_is_not_finite_ranks_no_checkpoint(tmp_path: Path, metric: float) -> None:
    checkpointer, state = make_checkpointer(tmp_path), make_state()
    train_step(state)
    result = save_now(checkpointer, state, metric=metric)

    assert result.facts.metric is None
    assert checkpointer.best is None
    assert checkpointer.latest is not None


def test_the_best_follows_the_direction_of_the_metric() -> None:
    found = [StoredCheckpoint(step=step, metric=value) for step, value in ((1, 0.5), (2, 0.9), (3, 0.1), (4, 0.9))]
    best, least = find_best(found, metric_name=ACCURACY), find_best(found, metric_name=LOSS)
    assert best is not None
    assert least is not None
    assert (best.step, least.step) == (4, 3)


def test_the_latest_and_the_best_are_on_the_volume_when_training_goes_on(tmp_path: Path) -> None:
    checkpointer, state = make_checkpointer(tmp_path, run=make_run(keep=2)), make_state()
    for metric in (0.5, 0.9, None, 0.7, 0.8):
        train_step(state)
        save_now(checkpointer, state, metric=metric)

    assert list_steps(tmp_path) == [2, 4, 5]
    assert checkpointer.latest is not None
    assert checkpointer.best is not None
    assert (checkpointer.latest.step, checkpointer.best.step) == (5, 2)
    assert checkpointer.best.metric == 0.9


def test_weights_that_are_not_finite_are_never_latest_even_if_the_loop_does_not_know(tmp_path: Path) -> None:
    checkpointer, state = make_checkpointer(tmp_path), make_state()
    train_step(state)
    save_now(checkpointer, state, metric=0.5)
    state.position += 8
    with torch.no_grad():
        next(state.model.parameters())[0] = torch.inf
    result = save_now(checkpointer, state, metric=0.99)
    loaded = make_checkpointer(tmp_path).load_latest(make_state())

    assert not result.finite
    assert checkpointer.latest is not None
    assert checkpointer.best is not None
    assert (checkpointer.latest.step, checkpointer.best.step) == (1, 1)
    assert loaded is not None
    assert loaded.facts.step == 1
    assert "not finite" in loaded.warnings[0]


def test_an_infinite_buffer_is_sound_when_it_is_a_mask(tmp_path: Path) -> None:
    checkpointer, state = make_checkpointer(tmp_path), make_state()
    state.model.register_buffer("mask", torch.full((2, 2), -torch.inf))
    train_step(state)
    assert save_now(checkpointer, state).finite


def test_a_checkpoint_that_is_not_finite_goes_when_a_good_one_follows(tmp_path: Path) -> None:
    checkpointer, state = make_checkpointer(tmp_path), make_state()
    for finite in (True, False, True):
        train_step(state)
        save_now(checkpointer, state, finite=finite)
    assert list_steps(tmp_path) == [1, 3]
