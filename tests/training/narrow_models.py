"""Every built-in model with few channels and small samples: the same code, in milliseconds."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from oarlock_api.v1alpha1.dataset import Task
from oarlock_api.zoo import BUILT_IN_MODELS
from oarlock_trainer.models import BUILDERS, SampleForm

_VOCABULARY = 30
_BATCH = 4
_CLASSES = 3
_NARROWER: dict[str, dict[str, int]] = {
    "alexnet": {"width": 8, "hidden": 32},
    "googlenet": {"width": 16},
    "vgg11": {"width": 8, "hidden": 32},
    "vgg16": {"width": 8, "hidden": 32},
    "resnet18": {"width": 8},
    "resnet34": {"width": 8},
    "resnet50": {"width": 8},
    "unet": {"width": 4},
    "unet-small": {"width": 4},
    "fcn": {"width": 8},
    "autoencoder": {"width": 8},
    "centernet": {"width": 8},
    "centernet-small": {"width": 4},
    "textcnn": {"embedding": 16, "filters": 8},
    "lstm": {"embedding": 16, "hidden": 16},
    "gru": {"embedding": 16, "hidden": 16},
    "transformer": {"width": 16, "layers": 2},
}


@dataclass(frozen=True, kw_only=True)
class NarrowModel:
    name: str
    form: SampleForm
    outputs: int
    arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def task(self) -> Task:
        return min(BUILT_IN_MODELS[self.name].tasks)

    def build(self) -> nn.Module:
        return BUILDERS[self.name](self.form, self.outputs, **self.arguments)

    def make_inputs(self) -> Tensor:
        if self.form.is_text:
            return torch.randint(1, _VOCABULARY, (_BATCH, *self.form.shape))
        return torch.randn(_BATCH, self.form.channels, self.form.height, self.form.width)

    def output_shape(self) -> tuple[int, ...]:
        """Of the main output."""
        match self.task:
            case Task.SEGMENTATION | Task.IMAGE_TO_IMAGE:
                return (_BATCH, self.outputs, self.form.height, self.form.width)
            case Task.OBJECT_DETECTION:
                return (_BATCH, self.outputs, -(-self.form.height // 4), -(-self.form.width // 4))
            case _:
                return (_BATCH, self.outputs)

    def make_batch(self) -> tuple[Tensor, Tensor]:
        inputs, shape = self.make_inputs(), self.output_shape()
        if self.task in {Task.IMAGE_TO_IMAGE, Task.OBJECT_DETECTION}:
            return inputs, torch.rand(shape)
        return inputs, torch.randint(0, self.outputs, (_BATCH, *shape[2:]))

    def compute_loss(self, outputs: Tensor | tuple[Tensor, ...], targets: Tensor) -> Tensor:
        main, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
        if targets.is_floating_point():
            return functional.mse_loss(main, targets)
        loss = functional.cross_entropy(main, targets)
        return loss + sum(0.3 * functional.cross_entropy(each, targets) for each in auxiliary)


def narrow_model(name: str, *, side: int | None = None, channels: int = 3) -> NarrowModel:
    """Return a model for images of `side` by a bit more, or of the least side that it takes, or for texts of that length."""
    model = BUILT_IN_MODELS[name]
    outputs = _CLASSES + 4 if Task.OBJECT_DETECTION in model.tasks else _CLASSES
    if model.reads_text:
        form = SampleForm(shape=(side or 12,), vocabulary=_VOCABULARY)
    else:
        height = max(side or 1, model.min_side)
        form = SampleForm(shape=(height, height + (side or 0) % 5, channels))
    return NarrowModel(name=name, form=form, outputs=outputs, arguments=_NARROWER.get(name, {}))
