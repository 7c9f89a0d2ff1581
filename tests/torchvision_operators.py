"""Lets torchvision, whose wheel is built for CUDA, be imported beside a torch for CPUs: for the tests alone, never shipped.

Its compiled operators need CUDA's libraries; without them the import fails over the two that it describes in Python. This
declares those two just before torchvision is imported, and only if its own cannot be loaded. Models and transforms need none.
"""

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

_OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_kept: list[object] = []
"""What declares operators forgets them when it is collected."""


class _Finder:
    """Finds nothing: it is asked before torchvision is imported, which is when the operators must be there."""

    @classmethod
    def find_spec(cls, fullname: str, *_place: Any) -> ModuleSpec | None:
        if fullname == "torchvision" and cls in sys.meta_path:
            sys.meta_path.remove(cls)
            spec = importlib.util.find_spec("torchvision")
            if spec is not None and spec.origin:
                _declare(Path(spec.origin).parent)
        return None


def _declare(package: Path) -> None:
    import torch

    try:
        for library in package.glob("_C*.so"):
            torch.ops.load_library(library)
    except OSError:
        declared = torch.library.Library("torchvision", "DEF")
        for schema in _OPERATORS:
            declared.define(schema)
        _kept.append(declared)


def install() -> None:
    """Have torchvision importable in this process; costs nothing until it is imported."""
    if _Finder not in sys.meta_path and not _kept:
        sys.meta_path.insert(0, _Finder)
