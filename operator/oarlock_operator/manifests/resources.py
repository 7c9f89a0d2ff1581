"""CPU, memory and GPUs as Kubernetes quantities. Pure."""

from oarlock_operator.manifests.metadata import Manifest


def format_cpu(cores: float) -> str:
    """Return a number of cores as a quantity: `2`, `500m`."""
    milli = max(1, round(cores * 1000))
    return str(milli // 1000) if milli % 1000 == 0 else f"{milli}m"


def whole_cpus(cores: float) -> int:
    """Return the cores that threads can be spread over: rounded down, at least 1."""
    return max(1, int(cores))


def build_resources(*, cpu: float, memory: str, gpus: int = 0, gpu_resource: str = "") -> Manifest:
    """Return requests and limits. They are equal, so that the pod is the last to be evicted (QoS class Guaranteed)."""
    amounts = {"cpu": format_cpu(cpu), "memory": memory}
    limits = {**amounts, gpu_resource: str(gpus)} if gpus else amounts
    return {"requests": limits, "limits": limits}
