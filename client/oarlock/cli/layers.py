"""`oarlock model`: a model's layers with their shapes and parameters, as one would train it.

The trainer's own code builds it, in a process of its own, without arithmetic: the command need not import torch.
"""

import importlib.util
import json
import re
import subprocess
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from oarlock.running.outcomes import EXIT_FAILED, EXIT_INVALID, EXIT_SUCCESS
from oarlock_api.zoo import BUILT_IN_MODELS

_MODULE = "oarlock_trainer.layer_table"
_IMAGE = "224x224x3"
_TEXT = "256"
_WORDS = 20_000
_SHAPE = re.compile(r"[1-9]\d*(x[1-9]\d*x[1-9]\d*)?")


def show_model(console: Console, name: str, *, shape: str | None, outputs: int) -> int:
    """Print the layers of a model, `resnet18`, `timm:NAME`, `torchvision:NAME` or `MODULE:FACTORY`; return the exit code."""
    built_in = BUILT_IN_MODELS.get(name)
    shape = shape or (_TEXT if built_in and built_in.reads_text else _IMAGE)
    if not _SHAPE.fullmatch(shape):
        sys.stderr.write(
            f"--shape must be HEIGHTxWIDTHxCHANNELS, or a number of tokens, each at least 1, got {shape!r}\n"
        )
        return EXIT_INVALID
    if importlib.util.find_spec("torch") is None:
        sys.stderr.write("models need torch: pip install 'oarlock[trainer]'\n")
        return EXIT_FAILED
    words = 0 if "x" in shape else _WORDS
    ended = subprocess.run(
        [sys.executable, "-m", _MODULE, json.dumps(describe_model(name)), shape, str(outputs), str(words)],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if ended.returncode:
        return EXIT_FAILED
    _print(console, json.loads(ended.stdout)["layers"])
    return EXIT_SUCCESS


def describe_model(name: str) -> dict[str, Any]:
    """Return a model as manifests have it."""
    source, _, inner = name.partition(":")
    if not inner:
        return {"name": name}
    if source in {"timm", "torchvision"}:
        return {source: {"name": inner}}
    return {"python": {"module": source, "factory": inner}}


def _print(console: Console, layers: list[dict[str, Any]]) -> None:
    table = Table(box=None, header_style="bold")
    table.add_column("layer")
    table.add_column("kind")
    table.add_column("output", justify="right")
    table.add_column("parameters", justify="right")
    for layer in layers:
        output = "x".join(map(str, layer["output"])) if layer["output"] is not None else ""
        table.add_row(layer["name"], layer["kind"], output, f"{layer['parameters']:,}" if layer["parameters"] else "")
    console.print(table)
    total = sum(layer["parameters"] for layer in layers)
    console.print(f"{total:,} parameters, {4 * total / 2**20:,.1f} MiB in float32")
