"""A trained model in other hands: loaded from its folder, it predicts what validation measured."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from training.small_runs import (
    CLASSES,
    COUNTS,
    SHAPE,
    make_images,
    make_run,
    read_validations,
    train_run,
    write_small_dataset,
)

from oarlock_api.contract import Outcome
from oarlock_trainer.exported import load_exported


@pytest.mark.train
@pytest.mark.parametrize("subtraction", ["none", "pixel", "image"])
def test_predictions_are_as_accurate_as_validation_said_when_a_model_is_loaded(
    tmp_path: Path, subtraction: str
) -> None:
    version = write_small_dataset(tmp_path / "data")
    run = make_run(version, model="mlp", steps=30, recipe={"meanSubtraction": subtraction})
    assert train_run(run, tmp_path).outcome is Outcome.SUCCEEDED
    images, labels = make_images(COUNTS["validation"], seed=2)

    exported = load_exported(tmp_path / "run/export")

    # The loss tells more than the accuracy of a task that is learned in no time.
    loss = -np.log(exported.predict(images)[np.arange(len(labels)), labels]).mean()
    step = exported.description["exported"]["step"]
    [measured] = [loss for at, loss, _ in read_validations(tmp_path / "run") if at == step]
    assert loss == pytest.approx(float.fromhex(measured), rel=1e-4)
    assert exported.classify(images[:4]) == [CLASSES[label] for label in labels[:4]]
    assert (exported.classes, exported.sample_shape) == (CLASSES, SHAPE)
    with pytest.raises(ValueError, match="images must be uint8"):
        exported.predict(images.astype(np.float32))

    newer = tmp_path / "newer"
    shutil.copytree(tmp_path / "run/export", newer)
    description = json.loads((newer / "model.json").read_text())
    (newer / "model.json").write_text(json.dumps({**description, "formatVersion": 99}))
    with pytest.raises(ValueError, match="newer Oarlock"):
        load_exported(newer)
