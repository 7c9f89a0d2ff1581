"""The share that dropout leaves out is the recipe's, in every form of it that torch has."""

import pytest
import torch
from torch import nn

from oarlock_api.v1alpha1.training_job import Model
from oarlock_api.zoo import BUILT_IN_MODELS
from oarlock_trainer.errors import ConfigError
from oarlock_trainer.models import SampleForm, build_model
from oarlock_trainer.models.dropping import set_dropout

TEXT, IMAGES = SampleForm(shape=(12,), vocabulary=50), SampleForm(shape=(64, 64, 3))


@pytest.mark.parametrize("name", [name for name in BUILT_IN_MODELS if name != "vgg16"])
def test_the_table_says_which_built_in_models_have_dropout(name: str) -> None:
    facts = BUILT_IN_MODELS[name]
    with torch.device("meta"):
        model = build_model(Model(name=name), TEXT if facts.reads_text else IMAGES, 5)

    if facts.drops:
        set_dropout(model, 0.25)
        assert {module.p for module in model.modules() if isinstance(module, nn.Dropout)} == {0.25}
    else:
        with pytest.raises(ConfigError, match="has no dropout layer"):
            set_dropout(model, 0.25)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Dropout(0.0),
        nn.Dropout2d(0.5),
        nn.AlphaDropout(0.1),
        nn.MultiheadAttention(4, 2, dropout=0.1),
        nn.LSTM(4, 4, 2, dropout=0.3),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_values_are_left_out_when_a_layer_is_told_to(layer: nn.Module) -> None:
    model = nn.Sequential(nn.Linear(4, 4), layer)

    set_dropout(model, 0.75)

    assert 0.75 in {getattr(layer, "p", None), getattr(layer, "dropout", None)}


def test_three_of_four_values_are_zero_when_the_share_is_that() -> None:
    model = nn.Sequential(nn.Dropout(0.1))
    set_dropout(model, 0.75)
    torch.manual_seed(0)

    zeros = (model.train()(torch.ones(10_000)) == 0).float().mean()

    assert float(zeros) == pytest.approx(0.75, abs=0.02)
