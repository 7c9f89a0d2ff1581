"""The layers of a model with their output shapes and parameters, without training and without arithmetic.

Run as `python -m oarlock_trainer.layer_table MODEL SHAPE OUTPUTS VOCABULARY`, the model as JSON as in manifests, the shape as
`224x224x3` or as a number of tokens; prints one JSON object. The `oarlock model` command shows it.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from oarlock_api.v1alpha1.training_job import Model
from oarlock_trainer.errors import TrainerError
from oarlock_trainer.models import SampleForm, build_model

_SAMPLES = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """One module that holds parameters, or has no modules in it."""

    name: str
    kind: str
    output: list[int] | None
    """Shape of what it returns for one sample; None: it is not called itself."""
    parameters: int


def list_layers(model: Model, form: SampleForm, outputs: int) -> list[Layer]:
    """Return the layers in the order in which the model holds them.

    Raises:
        TrainerError: if there is no such model, or the samples do not fit it.
    """
    with torch.device("meta"):
        network = build_model(model, form, outputs).eval()
        shown = {name: each for name, each in network.named_modules() if _is_shown(each)}
        shapes: dict[str, list[int]] = {}
        for name, module in shown.items():
            module.register_forward_hook(_make_note(shapes, name))
        shape = (_SAMPLES, *form.shape) if form.is_text else (_SAMPLES, form.channels, form.height, form.width)
        with torch.no_grad():
            network(torch.ones(shape, dtype=torch.int64 if form.is_text else torch.float32))
    return [
        Layer(
            name=name,
            kind=type(module).__name__,
            output=shapes.get(name),
            parameters=sum(each.numel() for each in module.parameters(recurse=False)),
        )
        for name, module in shown.items()
    ]


def _is_shown(module: nn.Module) -> bool:
    return not any(True for _ in module.children()) or any(True for _ in module.parameters(recurse=False))


def _make_note(shapes: dict[str, list[int]], name: str) -> Any:
    def note(_module: nn.Module, _inputs: Any, output: Any) -> None:
        first = output[0] if isinstance(output, tuple) else output
        if isinstance(first, Tensor):
            shapes[name] = list(first.shape[1:])

    return note


def main(arguments: Sequence[str]) -> int:
    described, shape, outputs, vocabulary = arguments
    form = SampleForm(shape=tuple(int(side) for side in shape.split("x")), vocabulary=int(vocabulary))
    try:
        layers = list_layers(Model.from_wire(json.loads(described)), form, int(outputs))
    except TrainerError as error:
        sys.stderr.write(f"{error}: {error.remedy}\n")
        return 1
    sys.stdout.write(json.dumps({"layers": [asdict(layer) for layer in layers]}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
