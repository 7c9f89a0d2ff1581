"""Decides whether the model goes through torch.compile, and says why."""

import torch

from oarlock_api.v1alpha1.recipe import Toggle

_SHORT_RUN_STEPS = 2000
"""Compiling takes about a minute; shorter runs do not earn it back."""


def choose_compilation(toggle: Toggle, *, device: torch.device, steps: int, deterministic: bool) -> tuple[bool, str]:
    """Return whether to compile, and the reason in words."""
    if toggle is not Toggle.AUTO:
        return toggle is Toggle.ON, f"recipe.compile is {toggle.value}"
    if device.type == "cpu":
        return False, "it does not pay on CPU"
    if deterministic:
        return False, "the run is deterministic"
    if steps < _SHORT_RUN_STEPS:
        return False, f"a run of {steps} steps does not earn the compilation back"
    return True, f"a run of {steps} steps earns the compilation back"
