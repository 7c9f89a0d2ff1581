from pathlib import Path

import pytest
import torch
from checkpointing.tiny_runs import make_checkpointer, make_state, same_bits, save_now, snapshot, train_step


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "rmsprop", "adadelta", "adagrad", "adamax"])
def test_losses_and_state_are_bitwise_equal_when_training_resumes(tmp_path: Path, optimizer: str) -> None:
    reference = make_state(optimizer=optimizer)
    losses = [train_step(reference) for _ in range(12)]

    victim = make_state(optimizer=optimizer)
    for _ in range(5):
        train_step(victim)
    save_now(make_checkpointer(tmp_path), victim)
    resumed = make_state(seed=99, optimizer=optimizer)
    loaded = make_checkpointer(tmp_path).load_latest(resumed)

    assert loaded is not None
    assert loaded.facts.step == 5
    assert same_bits(snapshot(resumed), snapshot(victim))
    assert [train_step(resumed) for _ in range(7)] == losses[5:]
    assert same_bits(snapshot(resumed), snapshot(reference))


def test_training_changes_nothing_in_a_save_that_is_in_flight(tmp_path: Path) -> None:
    state = make_state()
    train_step(state)
    before = make_state()
    train_step(before)
    checkpointer = make_checkpointer(tmp_path)
    checkpointer.begin_save(state, step=1, epoch=0.1)
    for _ in range(20):
        train_step(state)
    checkpointer.finish()

    resumed = make_state(seed=1)
    make_checkpointer(tmp_path).load_latest(resumed)
    assert same_bits(snapshot(resumed), snapshot(before))


def test_moments_keep_the_memory_layout_of_their_parameters(tmp_path: Path) -> None:
    state = make_state()
    train_step(state)
    save_now(make_checkpointer(tmp_path), state)
    resumed = make_state(seed=1)
    make_checkpointer(tmp_path).load_latest(resumed)

    weight = next(p for p in resumed.model.parameters() if p.ndim == 4)
    assert resumed.optimizer.state[weight]["exp_avg"].stride() == weight.stride()
    assert weight.is_contiguous(memory_format=torch.channels_last)
