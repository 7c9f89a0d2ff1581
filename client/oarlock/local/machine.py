"""What this machine has: cores, memory and GPUs, as the Node object of the local cluster shows them."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from oarlock.local.pod_status import format_time

NODE_NAME = "this-machine"
GPU_RESOURCE = "nvidia.com/gpu"


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """The means of one machine."""

    cpus: int
    memory: int
    """Bytes."""
    gpus: tuple[str, ...] = ()
    """Names by which CUDA_VISIBLE_DEVICES knows them."""


def observe_machine(gpus: Sequence[str]) -> Machine:
    """Return what this process may use."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(cpus=len(os.sched_getaffinity(0)), memory=memory, gpus=tuple(gpus))


def build_node(machine: Machine, *, name: str = NODE_NAME, now: float) -> dict[str, Any]:
    """Return the Node object."""
    resources = {
        "cpu": str(machine.cpus),
        "memory": f"{machine.memory // 1024}Ki",
        "pods": "110",
        GPU_RESOURCE: str(len(machine.gpus)),
    }
    moment = format_time(now)
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "lastHeartbeatTime": moment,
        "lastTransitionTime": moment,
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}},
        "spec": {},
        "status": {
            "capacity": resources,
            "allocatable": resources,
            "conditions": [ready],
            "nodeInfo": {"architecture": platform.machine(), "operatingSystem": "linux"},
        },
    }
