"""The repeated parts of a model: what is sharded, compiled, and computed again in the backward pass, one at a time.

Blocks are found by the form of the model alone, so that a user's own model, torchvision's and timm's need nothing for it. The
names of parameters must not change by what is done here: checkpoints are written under them.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
from torch import _dynamo as dynamo
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from oarlock_trainer.errors import ConfigError

_FORMS = 4
"""In which a block is compiled at most: while training, while validating, and for the last rows of either."""
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def find_blocks(model: nn.Module) -> list[nn.Module]:
    """Return the elements of the model's lists of modules that are made of modules themselves, in order.

    Residual blocks and layers of transformers are such. An element that consists mostly of blocks is a stage, not a block.
    """
    return list(dict.fromkeys(_find_blocks(model, is_element=False)))


def _find_blocks(module: nn.Module, *, is_element: bool) -> list[nn.Module]:
    is_container = isinstance(module, _CONTAINERS)
    inner = [block for child in module.children() for block in _find_blocks(child, is_element=is_container)]
    if not is_element or is_container or not any(module.children()):
        return inner
    own = count_parameters(module)
    return [module] if own > 0 and 2 * sum(map(count_parameters, inner)) < own else inner


def count_parameters(module: nn.Module) -> int:
    """Return the number of single values."""
    return sum(parameter.numel() for parameter in module.parameters())


def compile_blocks(model: nn.Module) -> None:
    """Compile each block by itself: equal ones are compiled once, and hooks stay outside.

    For the very shapes that come. Blocks of one class differ in them, which must not look as if shapes changed at random.
    """
    blocks = find_blocks(model)
    dynamo.config.recompile_limit = max(dynamo.config.recompile_limit, _FORMS * len(blocks))
    for block in blocks:
        block.forward = torch.compile(block.forward, dynamic=False)


def recompute_blocks(model: nn.Module) -> None:
    """Keep only the inputs of each block for the backward pass, which computes the rest again: bitwise the same.

    Dropout draws the same again, and batch norms count a batch once.

    Raises:
        ConfigError: if the model has no blocks.
    """
    blocks = find_blocks(model)
    if not blocks:
        raise ConfigError(
            f"recipe.activationCheckpointing needs a model of repeated blocks; {type(model).__name__} has none",
            remedy="leave it out, or lower recipe.microBatchSize",
        )
    for block in blocks:
        contexts = partial(_contexts, block)
        block.forward = partial(checkpoint, block.forward, use_reentrant=False, context_fn=contexts)


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Return the contexts of the forward pass, and of its repetition."""
    return nullcontext(), _on_copies_of_statistics(block)


@contextmanager
def _on_copies_of_statistics(block: nn.Module) -> Iterator[None]:
    """Let batch norms count into copies, which are dropped; to let them count nothing would save other tensors than before."""
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm)]
    kept = [dict(norm.named_buffers(recurse=False)) for norm in norms]
    for norm, buffers in zip(norms, kept, strict=True):
        for name, value in buffers.items():
            setattr(norm, name, value.clone())
    try:
        yield
    finally:
        for norm, buffers in zip(norms, kept, strict=True):
            for name, value in buffers.items():
                setattr(norm, name, value)
