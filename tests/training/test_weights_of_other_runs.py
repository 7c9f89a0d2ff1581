"""A run that begins with the weights of another one."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load
from training.small_runs import CLASSES, SHAPE, make_run, read_log, read_losses, train_run

from oarlock_api.v1alpha1.training_job import InitFrom, Model
from oarlock_trainer.checkpoints.folders import step_name
from oarlock_trainer.checkpoints.manifest import MANIFEST_NAME, encode_manifest, read_manifest
from oarlock_trainer.errors import ConfigError, DataMissingError
from oarlock_trainer.first_weights import load_first_weights
from oarlock_trainer.kept_weights import read_kept_weights
from oarlock_trainer.models import SampleForm, build_model

RECIPE = {"augment": {}, "validation": {"every": {"steps": 2}}}


@pytest.fixture(scope="module")
def trained(dataset_folder: Path, version: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data set and a finished run, `earlier`, with checkpoints of the steps 2, 4 and 6."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "data").symlink_to(dataset_folder / "data")
    train_run(make_run(version, steps=6, recipe=RECIPE, checkpointEvery={"steps": 2}), folder, name="earlier")
    return folder


@pytest.fixture
def earlier(trained: Path, tmp_path: Path) -> Path:
    """A copy of that run, to be damaged."""
    return Path(shutil.copytree(trained / "earlier", tmp_path / "earlier"))


def test_a_run_goes_on_from_the_weights_of_another_and_never_looks_at_them_again(
    trained: Path, tmp_path: Path, version: str
) -> None:
    (tmp_path / "data").symlink_to(trained / "data")
    run = make_run(version, steps=4, recipe=RECIPE, model={"name": "lenet", "initFrom": {"job": "earlier"}})
    train_run(run, tmp_path, name="undisturbed", first_weights=trained / "earlier")
    train_run(run, tmp_path, name="resumed", first_weights=trained / "earlier", stop_at=2)
    train_run(run, tmp_path, name="resumed", first_weights=tmp_path / "it-is-gone")

    (said,) = read_log(tmp_path / "resumed", "firstWeights")
    assert said["message"].startswith("the first weights are 8 tensors of the ")
    assert said["message"].endswith("of job earlier")
    assert read_losses(tmp_path / "resumed") == read_losses(tmp_path / "undisturbed")
    first_losses = [float.fromhex(read_losses(folder)[1]) for folder in (tmp_path / "resumed", trained / "earlier")]
    assert first_losses[0] < first_losses[1]


def test_the_exported_weights_are_taken_and_those_of_the_best_checkpoint_if_these_are_damaged(earlier: Path) -> None:
    exported = load((earlier / "export/model.safetensors").read_bytes())

    weights, source = read_kept_weights(earlier)
    assert source.startswith("the best model (step ")
    assert all(torch.equal(value, exported[name]) for name, value in weights.items())

    (earlier / "export/model.safetensors").write_bytes(b"damaged")
    from_checkpoint, source = read_kept_weights(earlier)
    assert source.startswith("the checkpoint of step ")
    assert from_checkpoint.keys() == exported.keys()
    assert all(torch.equal(value, exported[name]) for name, value in from_checkpoint.items())


def test_the_checkpoint_is_taken_that_was_asked_for(earlier: Path) -> None:
    of_step_2, from_step_2 = begin_with(earlier, step=2)
    of_latest, from_latest = begin_with(earlier, checkpoint="Latest")
    of_step_6, from_step_6 = begin_with(earlier, step=6)

    assert of_step_2 == "the checkpoint of step 2 of job earlier"
    assert of_latest == of_step_6 == "the checkpoint of step 6 of job earlier"
    assert torch.equal(from_latest, from_step_6)
    assert not torch.equal(from_latest, from_step_2)
    assert begin_with(earlier, checkpoint="Best")[0] == begin_with(earlier)[0] != of_latest
    with pytest.raises(
        ConfigError, match=r"initFrom.step must be .* finite weights, got 3: there are those of 2, 4, 6"
    ):
        begin_with(earlier, step=3)

    next((earlier / "checkpoints/step-000000006").glob("*.distcp")).write_bytes(b"damaged")

    assert begin_with(earlier, checkpoint="Latest")[0] == "the checkpoint of step 4 of job earlier"
    with pytest.raises(DataMissingError, match=r"no weights that are what was written: .*distcp"):
        begin_with(earlier, step=6)


def test_the_latest_is_not_the_best_and_what_is_not_finite_is_neither(earlier: Path) -> None:
    shutil.rmtree(earlier / "export")
    for step, changes in {2: {"metric": 1.0}, 4: {"metric": 0.1}, 6: {"metric": 0.2, "finite": False}}.items():
        folder = earlier / "checkpoints" / step_name(step)
        (folder / MANIFEST_NAME).write_bytes(encode_manifest(read_manifest(folder).model_copy(update=changes)))

    assert begin_with(earlier, checkpoint="Best")[0] == "the checkpoint of step 2 of job earlier"
    assert begin_with(earlier, checkpoint="Latest")[0] == "the checkpoint of step 4 of job earlier"
    with pytest.raises(ConfigError, match=r"finite weights, got 6: there are those of 2, 4$"):
        begin_with(earlier, step=6)


def begin_with(folder: Path, **choice: Any) -> tuple[str, torch.Tensor]:
    """Return what the weights are called that a model begins with, and those of its last layer."""
    model = Model(name="lenet", init_from=InitFrom.from_wire({"job": "earlier", **choice}))
    network = build_model(model, SampleForm(shape=SHAPE), len(CLASSES))
    taken = load_first_weights(network, model, folder, outputs=len(CLASSES))
    assert taken is not None
    return taken.source, network.state_dict()["head.weight"]


def test_a_damaged_checkpoint_is_passed_over_and_a_run_without_any_other_refused(earlier: Path) -> None:
    shutil.rmtree(earlier / "export")
    _, best = read_kept_weights(earlier)
    for step in (2, 4, 6):
        _, source = read_kept_weights(earlier)
        damaged = earlier / "checkpoints" / f"step-{int(source.rsplit(' ', 1)[1]):09}"
        next(damaged.glob("*.distcp")).write_bytes(b"damaged")
        if step < 6:
            assert read_kept_weights(earlier)[1] not in {source, best}

    with pytest.raises(DataMissingError, match=r"no weights that are what was written: .*distcp: expected"):
        read_kept_weights(earlier)
    with pytest.raises(DataMissingError, match="neither an exported model nor a checkpoint"):
        read_kept_weights(earlier / "checkpoints")
