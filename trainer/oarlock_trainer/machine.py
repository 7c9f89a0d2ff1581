"""What trains: versions, processor, node. For the metrics page, the run log and the report; nothing is decided by it."""

import os
import platform
import socket
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from oarlock_api.contract import POD_NAME_ENV
from oarlock_trainer.agent.procfs import read_age


def describe_build(device: torch.device) -> dict[str, str]:
    """Return the versions that a figure may depend on, as labels: lower-case words."""
    return {
        "oarlock": _own_version(),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "cuda": str(torch.version.cuda or ""),
        "device": _name_device(device),
    }


def describe_machine() -> dict[str, object]:
    """Return facts of the machine on which this process runs."""
    return {
        "oarlock": _own_version(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _name_processor(),
        "cores": os.cpu_count() or 1,
        "host": socket.gethostname(),
        "startSeconds": round(read_age(os.getpid()), 3),
        "pod": os.environ.get(POD_NAME_ENV, ""),
    }


def _own_version() -> str:
    try:
        return version("oarlock")
    except PackageNotFoundError:  # a source tree on the path
        return ""


def _name_device(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else _name_processor()


def _name_processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
