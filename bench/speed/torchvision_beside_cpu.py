"""Lets a torchvision that is built for CUDA be imported beside a torch for CPUs: frameworks try it, and none needs it here."""

import importlib
import importlib.util
import sys

_OPERATORS = tuple(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor" for name in ("nms", "qnms"))
_kept: list[object] = []
"""What declares operators forgets them when it is collected."""


def mend_torchvision() -> None:
    """Declare the operators whose absence breaks the import; nothing is done where it works, or where there is no torchvision."""
    if importlib.util.find_spec("torchvision") is None:
        return
    try:
        importlib.import_module("torchvision")
    except (ImportError, OSError, RuntimeError):
        import torch

        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        declared = torch.library.Library("torchvision", "FRAGMENT")
        for schema in _OPERATORS:
            declared.define(schema)
        _kept.append(declared)
