"""The trained model in forms that need neither Oarlock nor the model's code: ONNX, and a program of torch.export.

Preparation and class names are inside: uint8 images (or token numbers) go in, probabilities come out, and what is in `model.json`
is in the file, too. They follow from the safetensors export, which is the record; without them a run has trained all the same.
"""

import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from oarlock_api.v1alpha1.training_job import ExportFormat
from oarlock_trainer.export import DESCRIPTION_NAME, WORDS_NAME
from oarlock_trainer.servable import Servable

ONNX_NAME = "model.onnx"
PROGRAM_NAME = "model.pt2"
_INPUT, _OUTPUT = "samples", "predictions"
_NOTED = (
    "task",
    "classes",
    "preprocessing",
    "tokenizer",
    "sampleShape",
    "exported",
    "datasetVersion",
    "trainingHash",
    "formatVersion",
)
"""Of `model.json`, what is noted in the files."""
_MOST_NOTED = 16 << 20
"""Bytes of words from which on they are left to `vocabulary.txt` alone: they are notes, which every reader loads whole."""


def write_format(form: ExportFormat, servable: Servable, folder: Path) -> Path:
    """Write the model beside `model.json` in `folder`, complete or not at all, and return the file.

    Raises:
        ImportError: if a library that writes it is not installed.
        OSError: if the volume refuses.
        Exception: whatever torch raises if the model has an operation that the format lacks.
    """
    description = json.loads((folder / DESCRIPTION_NAME).read_text(encoding="utf-8"))
    notes = {name: description[name] for name in _NOTED if name in description}
    words = folder / WORDS_NAME
    if description.get("tokenizer", {}).get("words") and words.stat().st_size <= _MOST_NOTED:
        notes["vocabulary"] = words.read_text(encoding="utf-8")
    name, write = _WRITERS[form]
    unfinished = folder / f"partial-{name}"  # torch wants its own file ending
    with torch.no_grad(), _quiet():
        write(servable, unfinished, notes)
    return unfinished.replace(folder / name)


def _write_onnx(servable: Servable, path: Path, notes: dict[str, Any]) -> None:
    _require("onnx", "onnxscript")
    exported = torch.onnx.export(
        servable,
        (servable.make_example(),),
        dynamo=True,
        input_names=[_INPUT],
        output_names=[_OUTPUT],
        dynamic_shapes=_any_number(),
        external_data=False,
        verbose=False,
    )
    assert exported is not None  # noqa: S101  # it is a program whenever dynamo exports
    for name, value in notes.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        exported.model.metadata_props[f"oarlock.{name}"] = text
    exported.save(str(path))


def _write_program(servable: Servable, path: Path, notes: dict[str, Any]) -> None:
    program = torch.export.export(servable, (servable.make_example(),), dynamic_shapes=_any_number())
    for name, value in program.state_dict.items():
        if isinstance(
            value, torch.nn.Parameter
        ):  # what is served is not trained: predictions need no graph behind them
            program.state_dict[name] = torch.nn.Parameter(value.detach(), requires_grad=False)
    torch.export.save(program, path, extra_files={DESCRIPTION_NAME: json.dumps(notes, ensure_ascii=False)})


_WRITERS: dict[ExportFormat, tuple[str, Callable[[Servable, Path, dict[str, Any]], None]]] = {
    ExportFormat.ONNX: (ONNX_NAME, _write_onnx),
    ExportFormat.TORCH_EXPORT: (PROGRAM_NAME, _write_program),
}


def _any_number() -> dict[str, dict[int, Any]]:
    return {_INPUT: {0: torch.export.Dim("batch", min=1, max=1 << 20)}}


def _require(*names: str) -> None:
    """Say which library is missing, before torch says something else."""
    for name in names:
        try:
            __import__(name)
        except ImportError as error:
            raise ImportError(f"{name} is not installed: install oarlock[export]") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what torch tells of its own progress out of the pod's log."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logger.setLevel(level)
