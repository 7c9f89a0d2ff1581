"""A user's own program in a session, killed and stopped: it goes on as if nothing had happened."""

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from sessions.adversaries import EVERY, STEPS, Counter, report_no_number, report_unequal_figures, train
from training.forked_ranks import RankFailedError, run_ranks

from oarlock_trainer.checkpoints.manifest import read_manifest
from oarlock_trainer.checkpoints.parts import UnsavableStateError, collect_parts, restore_parts
from oarlock_trainer.errors import CheckpointMismatchError, ConfigError
from oarlock_trainer.order import Order
from oarlock_trainer.session.figures import name_figure
from oarlock_trainer.session.stepping import measure_length

_UNDISTURBED: dict[int, tuple[list[Any], list[str]]] = {}


def read_losses(folder: Path) -> list[str]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [f"{line['step']} {line['train/loss']!r} {line['d']!r}" for line in lines if line["kind"] == "step"]


def read_epochs(folder: Path) -> list[float | None]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line.get("epoch") for line in lines if line["kind"] == "step"]


@pytest.fixture
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Any], list[str]]:
    """Weights and losses of two ranks whom nobody disturbs."""
    if 2 not in _UNDISTURBED:
        folder = tmp_path_factory.mktemp("undisturbed")
        _UNDISTURBED[2] = run_ranks(2, train, folder), read_losses(folder)
    return _UNDISTURBED[2]


def test_program_goes_on_bit_for_bit_when_a_rank_is_killed(tmp_path: Path, undisturbed: Any) -> None:
    """A file of the program's is edited in between, which is told."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code/train.py").write_text("first = True\n")
    with pytest.raises(RankFailedError):
        run_ranks(2, train, tmp_path, 0, "killed")
    (tmp_path / "code/train.py").write_text("first = False\n")
    resumed = run_ranks(2, train, tmp_path, 1)

    weights, losses = undisturbed
    assert len(losses) == STEPS
    assert read_epochs(tmp_path) == [round(step * 8 / 50, 6) for step in range(1, STEPS + 1)]
    assert read_losses(tmp_path) == losses
    assert resumed == weights
    assert [answer[:-1] for answer in weights] == [weights[0][:-1]] * 2
    assert weights[0][-1] != weights[1][-1], "what no checkpoint holds is each rank's own"
    log = (tmp_path / "log.jsonl").read_text()
    assert "from the checkpoint of step" in log
    assert "train.py is not what it was" in log


def test_program_that_forgets_an_optimizer_does_not(tmp_path: Path, undisturbed: Any) -> None:
    with pytest.raises(RankFailedError):
        run_ranks(2, train, tmp_path, 0, "killed", "g_optimizer")
    run_ranks(2, train, tmp_path, 1, "", "g_optimizer")

    losses = read_losses(tmp_path)
    assert losses[:EVERY] == undisturbed[1][:EVERY]
    assert losses[-1] != undisturbed[1][-1]


def test_program_stops_at_one_step_on_all_ranks_and_goes_on_from_it(tmp_path: Path, undisturbed: Any) -> None:
    codes = run_ranks(2, train, tmp_path, 0, "stopped")
    stopped = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    run_ranks(2, train, tmp_path, 1)

    assert (codes, stopped["kind"]) == ([75, 75], "suspended")
    assert stopped["step"] > 2 * EVERY
    assert read_losses(tmp_path) == undisturbed[1]


@pytest.mark.parametrize("name", ["step", "kind", "time", "epoch", "attempt"])
def test_figure_may_not_have_a_name_of_the_run_log(name: str) -> None:
    with pytest.raises(ConfigError, match="which the run log needs"):
        name_figure(name, split="train")

    assert name_figure(name, split="validation") == f"validation/{name}"


def test_any_nested_state_comes_back_as_it_was() -> None:
    state = {"a": torch.arange(3), 7: [1, (None, torch.ones(2))], "t": OrderedDict(x=True), "s": "text"}
    entries = collect_parts({"one": Counter(state)})
    restored = Counter({})
    restore_parts(entries, {"one": restored})

    assert restored.state.keys() == state.keys()
    assert torch.equal(restored.state["a"], torch.arange(3))
    assert restored.state[7][1][0] is None
    assert torch.equal(restored.state[7][1][1], torch.ones(2))
    assert (restored.state["t"], restored.state["s"]) == ({"x": True}, "text")


def test_state_that_cannot_be_saved_is_named() -> None:
    with pytest.raises(UnsavableStateError, match=r"one\.a\[1\] is a set"):
        collect_parts({"one": Counter({"a": [1, {2}]})})


def test_checkpoint_with_other_parts_is_refused() -> None:
    with pytest.raises(CheckpointMismatchError, match="only the checkpoint has the part one"):
        restore_parts(collect_parts({"one": Counter({})}), {})


@pytest.mark.parametrize(("kind", "said"), [("steps", "step 2 reports a, b"), ("ranks", "report different figures")])
def test_figures_that_differ_are_refused(kind: str, said: str, tmp_path: Path) -> None:
    answers = run_ranks(1 if kind == "steps" else 2, report_unequal_figures, tmp_path, kind)

    assert said in answers[0]


def test_loss_alone_tells_that_a_program_has_diverged(tmp_path: Path) -> None:
    """One of the programs says what an epoch is, the other does not; nobody has named a metric, so none is the best."""
    assert run_ranks(1, report_no_number, tmp_path / "other", "distance", 4) == [""]
    assert read_manifest(tmp_path / "other/checkpoints/step-000000012").metric is None
    assert read_epochs(tmp_path / "other") == [step / 4 for step in range(1, 13)]

    (said,) = run_ranks(1, report_no_number, tmp_path / "loss", "loss")
    assert "not finite" in said
    assert "recipe" not in said
    assert set(read_epochs(tmp_path / "loss")) == {None}


def test_length_of_an_epoch_is_said_once_and_has_steps() -> None:
    with pytest.raises(ConfigError, match="the order says already"):
        measure_length(9, order=Order(seed=0, samples=8, batch_size=2), steps_per_epoch=4)
    with pytest.raises(ConfigError, match="must be at least 1, got 0"):
        measure_length(9, order=None, steps_per_epoch=0)
