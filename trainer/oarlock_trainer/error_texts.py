"""What the texts of other programs mean: torch, NCCL, gloo and CUDA say in prose what no type of exception says.

One table for both readers: `failures`, which has an exception, and the agent, which has the end of a log. Standard library only.
The first line that matches counts, so that what is particular stands before what is general.
"""

import re
from dataclasses import dataclass

from oarlock_api.contract import Cause

_FINDING_CHARACTERS = 240


@dataclass(frozen=True, kw_only=True, slots=True)
class Meaning:
    """What a text says."""

    cause: Cause
    finding: str
    """The part of the text that says it, one line."""
    remedy: str


_NETWORK_REMEDY = (
    "see the rank that ended first; if none did, check the network between these nodes (NetworkPolicy, InfiniBand,"
    " NCCL_SOCKET_IFNAME)"
)
_DEVICE_REMEDY = "take the node out of service (kubectl cordon) and see its kernel log (Xid) and nvidia-smi -q"
_KERNEL_REMEDY = (
    "an index or a class number is out of range, as a rule: run with CUDA_LAUNCH_BLOCKING=1 for the line that does it"
)
_DRIVER_REMEDY = "give the pod a GPU (workers.gpusPerNode), and use an image whose CUDA the node's driver supports"
_PORT_REMEDY = (
    "end the other user of the port on that node; with hostNetwork, pods on one node share their ports, so forbid it or"
    " spread them"
)
_MISSING_REMEDY = (
    "see the other pods of this job: one of them does not run, has ended, or is cut off by a NetworkPolicy"
)
_IDLE_REMEDY = (
    "let the loss depend on every parameter and every output of the model in each step (add 0 * output.sum() where it does not), or"
    " freeze the parameters; a program of its own may set DistributedDataParallel(find_unused_parameters=True)"
)
_NORM_REMEDY = (
    "a batch norm cannot be trained on one sample alone: raise recipe.microBatchSize or batchSize, or take fewer processes, so"
    " that each holds two samples at once; a program of its own lets its DataLoader drop the last batch (drop_last)"
)

_TABLE: tuple[tuple[str, Cause, str], ...] = (
    # torchrun's store, by which the nodes meet.
    (r"The server socket has failed to listen .*EADDRINUSE.*", Cause.RENDEZVOUS_FAILED, _PORT_REMEDY),
    (r"Timed out after \d+ seconds waiting for clients\. \d+/\d+ clients joined", Cause.RENDEZVOUS_FAILED, _MISSING_REMEDY),
    (r"The client socket has (?:timed out|failed to connect) .*", Cause.RENDEZVOUS_FAILED, _MISSING_REMEDY),
    (r"Connection timed out in TCPStore.*|The hostname of the client socket cannot be retrieved.*", Cause.RENDEZVOUS_FAILED,
     _MISSING_REMEDY),
    # GPUs that are broken, or not there.
    (r"(?:CUDA error|Cuda failure.*): uncorrectable (?:ECC|NVLink) error.*", Cause.DEVICE_FAILED, _DEVICE_REMEDY),
    (r".*GPU has fallen off the bus.*|.*\bXid\b.*: (?:48|63|64|74|79|94|95)\b.*", Cause.DEVICE_FAILED, _DEVICE_REMEDY),
    (r"CUDA error: (?:unspecified launch failure|hardware stack error|GPU is lost).*", Cause.DEVICE_FAILED, _DEVICE_REMEDY),
    (r"CUDA error: (?:unknown error|all CUDA-capable devices are busy or unavailable|system not yet initialized).*",
     Cause.DEVICE_FAILED, _DEVICE_REMEDY),
    (r"CUDA error: (?:device-side assert triggered|an illegal memory access was encountered).*", Cause.USER_ERROR,
     _KERNEL_REMEDY),
    (r".*(?:no CUDA-capable device is detected|No CUDA GPUs are available|CUDA driver version is insufficient).*",
     Cause.CONFIG_INVALID, _DRIVER_REMEDY),
    (r".*The NVIDIA driver on your system is too old.*", Cause.CONFIG_INVALID, _DRIVER_REMEDY),
    # NCCL and gloo.
    (r"ncclUnhandledCudaError: .*", Cause.COLLECTIVE_FAILED,
     "the GPU error before this one in the log is the reason; if it is ECC or Xid, take the node out of service"),
    (r"ncclRemoteError: .*", Cause.COLLECTIVE_FAILED, _NETWORK_REMEDY),
    (r"ncclSystemError: .*", Cause.COLLECTIVE_FAILED,
     f"{_NETWORK_REMEDY}; a too small /dev/shm says so in the lines around it"),
    (r"ncclInvalidUsage: .*|Duplicate GPU detected.*", Cause.CONFIG_INVALID,
     "two ranks use the same GPU: see that workers.gpusPerNode is what the node gives to the pod"),
    (r"Watchdog caught collective operation timeout: WorkNCCL\(.*", Cause.COLLECTIVE_FAILED, _NETWORK_REMEDY),
    (r".*watchdog got stuck for \d+ seconds without making progress.*", Cause.COLLECTIVE_FAILED, _NETWORK_REMEDY),
    (r"(?:NCCL error in: |ncclInternalError: ).*", Cause.COLLECTIVE_FAILED, _NETWORK_REMEDY),
    (r".*gloo.*(?:Connection (?:closed|reset)|Timed out|timeout|Broken pipe).*", Cause.COLLECTIVE_FAILED, _NETWORK_REMEDY),
    # Parameters that get no gradient.
    (r"Expected to have finished reduction in the prior iteration before starting a new one", Cause.USER_ERROR, _IDLE_REMEDY),
    # Batches that are too small.
    (r"Expected more than 1 value per channel when training.*", Cause.CONFIG_INVALID, _NORM_REMEDY),
    # Memory.
    (r".*CUDA out of memory.*|.*DefaultCPUAllocator: .*|.*can't allocate memory.*", Cause.OUT_OF_MEMORY,
     "set recipe.microBatchSize lower, or give the workers more memory"),
    (r".*DataLoader worker \(pid.*\) is killed by signal: Bus error.*|.*No space left on device.*/dev/shm.*", Cause.OUT_OF_MEMORY,
     "raise workers.resources.memory, of which /dev/shm is a part, or lower num_workers of the program's DataLoader"),
)  # fmt: skip
_PATTERNS = tuple((re.compile(pattern), cause, remedy) for pattern, cause, remedy in _TABLE)


def explain_text(text: str) -> Meaning | None:
    """Say what a message, or the end of a log, means; None if it says nothing that is known."""
    for pattern, cause, remedy in _PATTERNS:
        if found := pattern.search(text):
            return Meaning(cause=cause, finding=found[0].strip()[:_FINDING_CHARACTERS], remedy=remedy)
    return None
