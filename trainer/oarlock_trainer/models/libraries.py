"""Models of torchvision and timm by their names there, if they are installed: with a head and a first layer for the data set.

What it must not do: download anything. Weights come from a file (`oarlock_trainer.first_weights`).
"""

import difflib
import importlib
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from oarlock_trainer.errors import ConfigError
from oarlock_trainer.models.forms import SampleForm

_RGB = 3
_SIZED = {"vit_": "image_size", "maxvit_": "input_size"}
"""Models of torchvision that are built for one size of image, and what they call it."""


class MainAndAuxiliary(nn.Module):
    """A segmentation model of torchvision, whose outputs are a dictionary: [N, outputs, H, W], and a second one while training."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        outputs: dict[str, Tensor] = self.network(images)
        if self.training and "aux" in outputs:
            return outputs["out"], outputs["aux"]
        return outputs["out"]


def build_torchvision(name: str, form: SampleForm, outputs: int) -> nn.Module:
    """Build a classification or segmentation model of torchvision, with random weights.

    Raises:
        ConfigError: if torchvision is not installed, or has no such model.
    """
    models = _import_library("torchvision.models", field="torchvision")
    segmenting = models.list_models(module=models.segmentation)
    _check_name(name, [*models.list_models(module=models), *segmenting], library="torchvision")
    _refuse_texts(form, library="torchvision")
    options: dict[str, Any] = {"weights": None, "num_classes": outputs}
    if name in segmenting:
        # `lraspp` has no second head, and says so by refusing the option.
        options |= {"weights_backbone": None, **({} if name.startswith("lraspp") else {"aux_loss": True})}
    for start, option in _SIZED.items():
        if name.startswith(start):
            options[option] = form.height if option == "image_size" else (form.height, form.width)
    if name in {"googlenet", "inception_v3"}:
        options["init_weights"] = True
    network = _build("torchvision", name, lambda: models.get_model(name, **options), form)
    _adapt_first_convolution(network, form.channels)
    return MainAndAuxiliary(network) if name in segmenting else network


def build_timm(name: str, form: SampleForm, outputs: int) -> nn.Module:
    """Build a classification model of timm, with random weights.

    Raises:
        ConfigError: if timm is not installed, or has no such model.
    """
    timm = _import_library("timm", field="timm")
    _check_name(name.partition(".")[0], timm.list_models(), library="timm")
    _refuse_texts(form, library="timm")
    settings = timm.models.get_pretrained_cfg(name)
    sized = {"img_size": (form.height, form.width)} if settings and settings.fixed_input_size else {}
    options = {"pretrained": False, "num_classes": outputs, "in_chans": form.channels, **sized}
    return _build("timm", name, lambda: timm.create_model(name, **options), form)


def adapt_channels(weight: Tensor, channels: int) -> Tensor:
    """Return the weight of a first convolution, [out, in, h, w], for images of another number of channels.

    A grey image gives what it gave as a colour image with three equal channels; more channels share the same sum.
    """
    given = weight.shape[1]
    if channels == 1:
        return weight.sum(dim=1, keepdim=True)
    repeated = weight.repeat(1, -(-channels // given), 1, 1)[:, :channels]
    return repeated * (given / channels)


def _adapt_first_convolution(network: nn.Module, channels: int) -> None:
    if channels == _RGB:
        return
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d) and module.in_channels == _RGB and module.groups == 1:
            parent, _, own = name.rpartition(".")
            setattr(network.get_submodule(parent), own, _with_channels(module, channels))
            return
    raise ConfigError(
        f"the first layer of this model of torchvision takes colour images only, the data set's have {channels} channel(s)",
        remedy="import the data set with image.channels: rgb, or choose another model",
    )


def _with_channels(module: nn.Conv2d, channels: int) -> nn.Conv2d:
    adapted = nn.Conv2d(
        channels,
        module.out_channels,
        cast("tuple[int, int]", module.kernel_size),
        stride=cast("tuple[int, int]", module.stride),
        padding=cast("Any", module.padding),
        dilation=cast("tuple[int, int]", module.dilation),
        bias=module.bias is not None,
        device="meta",
    )
    adapted.weight = nn.Parameter(adapt_channels(module.weight.detach(), channels))
    adapted.bias = module.bias
    return adapted


def _import_library(module: str, *, field: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"model.{field} needs the package {field}, which the trainer's image does not have ({error})",
            remedy="use an image with it (pip install 'oarlock[vision]'), or a built-in model by its name",
        ) from error
    except (RuntimeError, OSError) as error:
        raise ConfigError(
            f"the package {field} of the trainer's image cannot be imported: {error}",
            remedy=f"install the release of {field} that is made for torch {torch.__version__}",
        ) from error


def _check_name(name: str, known: Sequence[str], *, library: str) -> None:
    if name in known:
        return
    close = difflib.get_close_matches(name, known, n=3)
    raise ConfigError(
        f"{library} has no model {name!r} that classifies{' or segments' if library == 'torchvision' else ''} images",
        remedy=f"did you mean {' or '.join(close)}?" if close else f"{library}.list_models() names them",
    )


def _refuse_texts(form: SampleForm, *, library: str) -> None:
    if form.is_text:
        raise ConfigError(
            f"models of {library} are for images, the data set's samples are texts (sample shape {list(form.shape)})",
            remedy="choose a model for texts: textcnn, lstm, gru or transformer",
        )


def _build(library: str, name: str, build: Any, form: SampleForm) -> nn.Module:
    """Call the library; what it refuses is as a rule the size of the images."""
    try:
        network: nn.Module = build()
    except Exception as error:
        raise ConfigError(
            f"{library}'s {name} cannot be built for samples of shape {list(form.shape)}: {type(error).__name__}: {error}",
            remedy="import the data set in a size that the model takes, or choose another model",
        ) from error
    return network
