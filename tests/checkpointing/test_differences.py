from pathlib import Path
from typing import Any

import pytest
from checkpointing.tiny_runs import make_checkpointer, make_run, make_state, save_now, train_step

from oarlock_trainer.checkpoints import LoadedCheckpoint
from oarlock_trainer.errors import CheckpointMismatchError


def load_with(tmp_path: Path, *, width: int = 32, **run: Any) -> LoadedCheckpoint | None:
    state = make_state()
    train_step(state)
    save_now(make_checkpointer(tmp_path, run=make_run(steps=1000)), state)
    return make_checkpointer(tmp_path, run=make_run(**run)).load_latest(make_state(width=width))


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"optimizer": {"name": "adam", "learningRate": 0.1}}, r"recipe\.optimizer\.name was adamw, now adam"),
        ({"batchSize": 16}, r"recipe\.batchSize was 8, now 16"),
        ({"gradientClipNorm": 1.0}, r"recipe\.gradientClipNorm was absent, now 1\.0"),
        ({"epochs": 20, "loader": {"workers": 7}, "batchSize": 16}, r"recipe\.batchSize was 8, now 16"),
    ],
)
def test_the_first_difference_is_named_when_the_recipe_is_another(
    tmp_path: Path, recipe: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointMismatchError, match=message) as error:
        load_with(tmp_path, steps=2000, **recipe)
    assert "another name" in error.value.remedy


def test_the_run_goes_on_when_it_was_made_longer(tmp_path: Path) -> None:
    loaded = load_with(tmp_path, steps=2000, epochs=20)
    assert loaded is not None
    assert loaded.extends


def test_the_run_is_refused_when_it_was_made_shorter(tmp_path: Path) -> None:
    with pytest.raises(CheckpointMismatchError, match=r"recipe\.epochs was 10\.0, now 5\.0"):
        load_with(tmp_path, steps=500, epochs=5)


def test_the_same_run_does_not_count_as_extended(tmp_path: Path) -> None:
    loaded = load_with(tmp_path)
    assert loaded is not None
    assert not loaded.extends


def test_the_tensor_is_named_when_the_code_of_the_model_has_changed(tmp_path: Path) -> None:
    with pytest.raises(CheckpointMismatchError, match=r"tensor 3\.weight is \[32, 64\] .* \[16, 64\]"):
        load_with(tmp_path, width=16)


def test_a_model_with_other_tensors_is_refused(tmp_path: Path) -> None:
    state = make_state()
    train_step(state)
    save_now(make_checkpointer(tmp_path), state)
    other = make_state()
    other.model.register_buffer("extra", other.model.get_buffer("1.running_mean").clone())
    with pytest.raises(CheckpointMismatchError, match="only the model has the tensor extra"):
        make_checkpointer(tmp_path).load_latest(other)


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ({"a.py": "1", "b.py": "1"}, {"a.py": "1", "b.py": "2"}, "step 1: b.py is not what it was; the run goes on"),
        ({"a.py": "1", "b.py": "1"}, {"a.py": "1", "c.py": "2"}, "step 1: c.py is new, b.py is gone; the run goes on"),
        ({f"{n}.py": "1" for n in range(7)}, {}, "3.py is gone, 4.py is gone and 2 more; the run goes on"),
        ({"a.py": "1"}, {"a.py": "1"}, ""),
        ({}, {"a.py": "1"}, ""),
    ],
    ids=["changed", "renamed", "many", "the same", "a checkpoint without digests"],
)
def test_the_files_are_named_when_the_users_own_code_has_changed(
    tmp_path: Path, before: dict[str, str], now: dict[str, str], said: str
) -> None:
    state = make_state()
    train_step(state)
    state.code = before
    save_now(make_checkpointer(tmp_path), state)
    resumed = make_state()
    resumed.code = now

    loaded = make_checkpointer(tmp_path).load_latest(resumed)

    assert loaded is not None
    assert len(loaded.warnings) == bool(said)
    assert said in "".join(loaded.warnings)
    assert resumed.position == state.position
