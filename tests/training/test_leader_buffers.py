"""Buffers that training reads: what a run on several processes computes does not depend on when it is saved."""

from pathlib import Path

from training.small_runs import make_run, read_losses, train_run


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
