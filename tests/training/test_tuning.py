"""What the trainer chooses by itself, and that the run is the one that it would have been with the same figures given."""

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from training.small_runs import make_run, read_log, read_losses, train_run

from oarlock_api.contract import Outcome, PodPhase
from oarlock_trainer.averaging import WeightAverage
from oarlock_trainer.batch_finder import find_fastest, find_largest
from oarlock_trainer.batches import count_parts, list_row_counts
from oarlock_trainer.checkpoints import Snapshot
from oarlock_trainer.order import rows_of_rank
from oarlock_trainer.rate_finder import choose_rate, find_rate
from oarlock_trainer.state import TrainingState
from oarlock_trainer.tasks import Batch, Rows

NORMED = {"python": {"module": "training.own_models", "factory": "build_normed"}}


@given(best=st.integers(1, 300), limit=st.integers(1, 300))
def test_the_largest_that_fits_is_found_in_few_trials(best: int, limit: int) -> None:
    asked: list[int] = []

    def fits(rows: int) -> bool:
        asked.append(rows)
        return rows <= best

    choice = find_largest(fits, range(1, limit + 1))

    assert choice is not None
    assert choice.value == min(best, limit)
    assert all(1 <= rows <= limit for rows in asked)
    assert len(asked) <= 2 * math.ceil(math.log2(limit)) + 1


def test_the_fastest_is_found_with_its_reason() -> None:
    seconds = {1: 1.0, 2: 1.5, 4: 2.0, 8: 6.0, 11: 9.0}
    choice = find_fastest(lambda rows: seconds[rows], [1, 2, 3, 4, 6, 8, 11])

    assert choice is not None
    assert choice.value == 4
    assert choice.reason == "microBatchSize 4 chosen: the fastest on the CPU, 500 ms for each sample of a process"
    assert [rows for rows, _ in choice.curve] == [1, 2, 4, 8, 11]


@given(batch_size=st.integers(1, 120), processes=st.integers(1, 4), limit=st.integers(1, 60), least=st.integers(1, 3))
def test_each_number_of_rows_that_is_tried_is_one_that_a_process_holds(
    batch_size: int, processes: int, limit: int, least: int
) -> None:
    """And no micro-batch of any rank has fewer rows than the model takes, but for a share that has."""
    processes = min(processes, batch_size)
    counts = list_row_counts(batch_size, processes, limit=limit, least=least)
    shares = [rows_of_rank(rank, processes, batch_size) for rank in range(processes)]

    for rows in counts:
        parts = count_parts(batch_size, processes, rows=rows, least=least)
        sizes = [[len(part.rows) for part, _ in make_batch(share).split(parts)] for share in shares]
        assert max(map(max, sizes)) == rows
        assert min(map(min, sizes)) >= min(least, batch_size // processes)
        assert [len(make_batch(share).largest_part(parts).rows) for share in shares] == list(map(max, sizes))


def make_batch(share: slice) -> Batch:
    values = torch.zeros(share.stop - share.start)
    return Batch(rows=Rows(samples=values, targets=values))


def test_the_whole_share_is_the_fastest_when_each_pass_costs_something() -> None:
    """Asked for 64 of 96 rows, a process holds 48 at once: the time is theirs."""
    counts = list_row_counts(96, 1, limit=96, least=1)
    choice = find_fastest(lambda rows: (rows + 1) * 1e-3, counts)

    assert choice is not None
    assert choice.value == 96
    assert [rows for rows, _ in choice.curve] == [1, 2, 4, 8, 16, 32, 48, 96]


def test_the_rate_of_the_steepest_descent_is_chosen() -> None:
    """The loss falls from 2 to 1 around a rate of 0.01, as tanh does, and explodes beyond 1."""
    rates = [10 ** (-6 + 8 * index / 99) for index in range(100)]
    losses = [1.5 - 0.5 * math.tanh(2 * math.log10(rate / 0.01)) + max(0.0, rate - 1) ** 2 for rate in rates]
    choice = choose_rate(list(zip(rates, losses, strict=True)), usual=0.1)

    assert choice.value == pytest.approx(0.01, rel=0.1)
    assert choice.reason.startswith("learningRate 0.0")


@pytest.mark.parametrize("losses", [[1.0, 2.0, 3.0], [math.nan], []], ids=["rising", "not finite", "none"])
def test_the_usual_rate_is_kept_when_the_loss_falls_at_none(losses: list[float]) -> None:
    choice = find_rate(lambda step, _rate: losses[step] if step < len(losses) else math.nan, usual=0.05)

    assert choice is not None
    assert (choice.value, "kept" in choice.reason) == (0.05, True)


def test_the_usual_rate_is_kept_when_the_steepest_descent_ends_in_the_lowest_point() -> None:
    """As on 90 images, which are soon known by heart: the loss falls ever faster until it explodes."""
    rates = [10 ** (-6 + 8 * index / 99) for index in range(100)]
    losses = [2 - math.sqrt(rate) if rate < 1 else 5.0 for rate in rates]
    choice = choose_rate(list(zip(rates, losses, strict=True)), usual=0.1)

    assert choice.value == 0.1
    assert "kept: the sweep says nothing, since its steepest descent ends in its lowest point" in choice.reason


@pytest.mark.parametrize(("depth", "is_kept"), [(0.0, True), (0.5, True), (5.0, False)])
def test_the_usual_rate_is_kept_when_the_loss_falls_by_no_more_than_its_noise(depth: float, *, is_kept: bool) -> None:
    noise = random.Random(1)

    def measure(step: int, rate: float) -> float:
        return 9 - depth * (1 + math.tanh(math.log10(rate / 0.01))) / 2 + noise.gauss(0, 0.3) + max(0.0, rate - 9)

    choice = find_rate(measure, usual=0.1)

    assert choice
    assert (choice.value == 0.1) == is_kept
    assert ("kept: the sweep says nothing" in choice.reason) == is_kept
    assert depth or "and a single one varies by 0.3" in choice.reason
    assert choice.curve


def test_a_snapshot_brings_back_weights_moments_statistics_and_random_states() -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout())
    optimizer = torch.optim.AdamW(model.parameters())
    state = TrainingState(model=model, optimizer=optimizer, average=WeightAverage(model, decay=0.5))

    def train() -> list[float]:
        losses = []
        for _ in range(3):
            loss = model(torch.ones(6, 3) * torch.rand(6, 1)).square().sum()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        return [*losses, *(float(buffer.sum()) for buffer in model.buffers())]

    train()
    snapshot = Snapshot(state, rank=0, device=torch.device("cpu"))
    first = train()
    snapshot.restore(state)

    assert train() == first
    assert train() != first


def test_nothing_is_chosen_when_the_search_is_broken_off() -> None:
    assert find_rate(lambda _step, _rate: None, usual=0.1) is None
    assert find_largest(lambda _rows: None, [1, 2]) is None
    assert find_fastest(lambda _rows: None, [1]) is None


def test_a_tuned_run_is_the_run_that_was_given_the_same_figures(
    dataset_folder: Path, version: str, tmp_path: Path
) -> None:
    """Bitwise, with dropout on two ranks; and so is one that was suspended, which does not search again.

    The model has a batch norm that refuses a single row: no search tries that.
    """
    (tmp_path / "data").symlink_to(dataset_folder / "data")

    def train(name: str, *, tune: bool, more: dict[str, Any] | None = None, **how: Any) -> Any:
        recipe = {
            "batchSize": 13,
            "ema": {"decay": 0.5},
            **({"tune": ["learningRate", "microBatchSize"]} if tune else {}),
            **(more or {"optimizer": {"name": "adagrad"}}),
        }
        return train_run(
            make_run(version, model=NORMED, steps=6, recipe=recipe), tmp_path, processes=2, name=name, **how
        )

    suspended = train("tuned", tune=True, stop_at=3)
    resumed = train("tuned", tune=True)
    rows, rate = read_log(tmp_path / "tuned", "tune")
    chosen = json.loads(rate["message"].split()[1]), json.loads(rows["message"].split()[1])
    given_rate = {"optimizer": {"name": "adagrad", "learningRate": chosen[0]}, "microBatchSize": chosen[1]}
    train("given", tune=False, more=given_rate)

    assert (suspended.outcome, resumed.outcome) == (Outcome.SUSPENDED, Outcome.SUCCEEDED)
    assert PodPhase.TUNING in suspended.phases
    assert PodPhase.TUNING not in resumed.phases
    assert read_losses(tmp_path / "tuned") == read_losses(tmp_path / "given")
    assert resumed.facts["notes"] == [
        f"microBatchSize {chosen[1]}, chosen before the first step",
        f"learningRate {chosen[0]:.6g}, chosen before the first step",
    ]
    assert len(rate["curve"]) > 10
    assert [held for held, _ in rows["curve"]] == [3, 4, 7]


def test_a_search_that_is_broken_off_is_done_when_the_run_resumes(
    dataset_folder: Path, version: str, tmp_path: Path
) -> None:
    (tmp_path / "data").symlink_to(dataset_folder / "data")
    run = make_run(version, model="mlp", steps=3, recipe={"tune": ["learningRate"]})

    suspended = train_run(run, tmp_path, stop_in=PodPhase.TUNING)
    resumed = train_run(run, tmp_path)

    assert (suspended.outcome, resumed.outcome) == (Outcome.SUSPENDED, Outcome.SUCCEEDED)
    assert PodPhase.TRAINING not in suspended.phases
    (found,) = read_log(tmp_path / "run", "tune")
    chosen = json.loads(found["message"].split()[1])
    assert (found["tunable"], "chosen" in found["message"], chosen == 0.001) == ("learningRate", True, False)
    assert read_log(tmp_path / "run", "step")[0]["learningRate"] == chosen
    assert sorted(read_losses(tmp_path / "run")) == [1, 2, 3]
