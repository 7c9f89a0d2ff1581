"""Breaks the trainer of a child process in the one way that OARLOCK_TEST_SABOTAGE names; found through PYTHONPATH.

What it breaks is what makes a resumed run exact: a comparison that does not notice proves nothing.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any


def forget_random_states(module: ModuleType) -> None:
    module.restore_rng = lambda *_: None  # type: ignore[attr-defined]


def skip_a_batch(module: ModuleType) -> None:
    """Resume with the data of the step after the next, as a trainer does that counts what a loader had prefetched."""
    at: Callable[[Any, int], Any] = module.Batches.at
    module.Batches.at = lambda batches, step: at(batches, step + 1)


def forget_moments(module: ModuleType) -> None:
    module._restore_optimizer = lambda *_: None  # type: ignore[attr-defined]


SABOTAGE: dict[str, tuple[str, Callable[[ModuleType], None]]] = {
    "random states": ("oarlock_trainer.checkpoints.entries", forget_random_states),
    "batch": ("oarlock_trainer.batches", skip_a_batch),
    "moments": ("oarlock_trainer.checkpoints.entries", forget_moments),
}


class Saboteur(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module as always, and then changes it."""

    def __init__(self, name: str, change: Callable[[ModuleType], None]) -> None:
        self._name, self._change = name, change

    def find_spec(self, fullname: str, _path: Any, _target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        assert spec is not None
        assert spec.loader is not None
        self._loader = spec.loader
        spec.loader = self
        return spec

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._change(module)
        sys.stderr.write(f"sabotaged {self._name}\n")


if wanted := os.environ.get("OARLOCK_TEST_SABOTAGE"):
    sys.meta_path.insert(0, Saboteur(*SABOTAGE[wanted]))
