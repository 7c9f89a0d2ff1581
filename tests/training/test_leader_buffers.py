"""Buffers that training reads: what a run on several processes computes does not depend on when it is saved."""

from pathlib import Path

from training.forked_ranks import run_ranks
from training.small_runs import make_run, read_losses, train_run
from training.spread_scenarios import take_all_kinds


def test_losses_are_bitwise_the_same_when_a_model_whose_buffers_affect_training_is_saved_more_often(
    dataset_folder: Path, version: str, tmp_path: Path
) -> None:
    """A checkpoint holds rank 0's buffers: they must be everyone's, whether or not one is written."""
    (tmp_path / "data").symlink_to(dataset_folder / "data")
    recipe = {"batchSize": 8, "validation": {"every": {"steps": 6}}}
    model = {"python": {"module": "training.spread_scenarios", "factory": "Remembering"}}
    for name, every in (("seldom", 6), ("often", 2)):
        run = make_run(version, model=model, steps=6, recipe=recipe, checkpointEvery={"steps": every})
        train_run(run, tmp_path, processes=2, name=name)

    assert read_losses(tmp_path / "often") == read_losses(tmp_path / "seldom")


def test_buffers_of_every_kind_are_rank_0s_but_for_those_that_no_checkpoint_holds() -> None:
    first, second = run_ranks(2, take_all_kinds)

    assert {name: values for name, values in first.items() if values != [1]} == {"empty": []}
    assert second == {**first, "fleeting": [2], "between": [1, 2]}
