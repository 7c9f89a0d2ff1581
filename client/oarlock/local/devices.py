"""GPUs of this machine: how many there are, and which pod holds which."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

VISIBLE_DEVICES_ENV = "CUDA_VISIBLE_DEVICES"

_NVIDIA_DEVICES = Path("/proc/driver/nvidia/gpus")


def find_gpus(environment: Mapping[str, str] = os.environ, *, driver: Path = _NVIDIA_DEVICES) -> tuple[str, ...]:
    """Return the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    if VISIBLE_DEVICES_ENV in environment:
        return tuple(name.strip() for name in environment[VISIBLE_DEVICES_ENV].split(",") if name.strip())
    count = len(list(driver.iterdir())) if driver.is_dir() else 0
    return tuple(str(index) for index in range(count))


class DevicePool:
    """Gives each GPU to one pod at a time."""

    def __init__(self, devices: Sequence[str]) -> None:
        self._devices = tuple(devices)
        self._holders: dict[str, str] = {}

    def take(self, count: int, *, holder: str) -> tuple[str, ...] | None:
        """Return `count` devices that nobody else holds; None if fewer are free."""
        free = [device for device in self._devices if device not in self._holders]
        if len(free) < count:
            return None
        taken = tuple(free[:count])
        self._holders.update(dict.fromkeys(taken, holder))
        return taken

    def give_back(self, holder: str) -> None:
        self._holders = {device: held_by for device, held_by in self._holders.items() if held_by != holder}
