"""What an optimizer keeps on the host as one number, and torch moves when it loads a state: to the GPU, in the parameter's type.

torch leaves `step` alone, but takes NAdam's product of its momenta for a moment: from then on each step would wait for the GPU
once for every parameter, and with parameters that are not float32 the run would be another one.
"""

import itertools
from collections.abc import Mapping
from typing import Any

import torch
from torch.optim import NAdam

HOST_SCALARS = frozenset({"step", "mu_product"})
"""Entries of an optimizer's state that are one number each, whatever the parameter's shape and type."""
_PRODUCT = "mu_product"


def restore_host_scalars(optimizer: object, saved: Mapping[str, Any]) -> None:
    """Put into an optimizer that has loaded the state dictionary `saved` what torch has moved of it, as it was."""
    if not isinstance(optimizer, NAdam):
        return
    numbers = itertools.chain.from_iterable(group["params"] for group in saved["param_groups"])
    places = [(group, parameter) for group in optimizer.param_groups for parameter in group["params"]]
    for number, (group, parameter) in zip(numbers, places, strict=True):
        product = saved["state"].get(number, {}).get(_PRODUCT)
        if product is not None:
            device = parameter.device if group["capturable"] else torch.device("cpu")
            optimizer.state[parameter][_PRODUCT] = product.to(device, copy=True)
