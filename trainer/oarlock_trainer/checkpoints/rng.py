"""The random states of one rank: Python, NumPy, torch on the CPU and on this rank's GPU.

All become tensors of bytes, so that a checkpoint stores them like everything else and nothing needs to be unpickled.
"""

import json
import random
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


def capture_rng(device: torch.device) -> dict[str, Tensor]:
    """Return the states of all generators, by the generator's name."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)  # noqa: NPY002  # the global generator is the one that user code draws from
    states = {
        "python": _encode([version, list(words), gauss]),
        "numpy": _encode([name, np.asarray(keys).tolist(), position, has_gauss, cached]),
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore_rng(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Put back what `capture_rng` returned; a generator that `states` does not name keeps its state.

    A rank that the saving run did not have finds nothing, and a run that moved from CPU to GPU no `cuda`: they keep what
    seeding gave them.
    """
    if "python" in states:
        version, words, gauss = json.loads(_decode(states["python"]))
        random.setstate((version, tuple(words), gauss))
    if "numpy" in states:
        name, keys, position, has_gauss, cached = json.loads(_decode(states["numpy"]))
        np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))  # noqa: NPY002
    if "torch" in states:
        torch.set_rng_state(states["torch"])
    if "cuda" in states and device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)


def _encode(state: object) -> Tensor:
    return torch.frombuffer(bytearray(json.dumps(state).encode()), dtype=torch.uint8)


def _decode(state: Tensor) -> bytes:
    return state.numpy().tobytes()
