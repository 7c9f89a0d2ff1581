"""What the texts of NCCL, gloo, CUDA and torchrun mean: real ones, from logs."""

import re

import pytest

from oarlock_api.contract import Cause
from oarlock_trainer.error_texts import _TABLE, explain_text
from oarlock_trainer.failures import classify_failure

_C10D = "torch.distributed.DistBackendError: NCCL error in: ../torch/csrc/distributed/c10d"
TEXTS = [
    (
        (
            "torch.distributed.DistNetworkError: The server socket has failed to listen on any local network address. port: 29557,"
            " useIpv6: false, code: -98, name: EADDRINUSE, message: address already in use"
        ),
        Cause.RENDEZVOUS_FAILED,
        "share their ports",
    ),
    (
        "torch.distributed.DistStoreError: Timed out after 7 seconds waiting for clients. 1/2 clients joined.",
        Cause.RENDEZVOUS_FAILED,
        "one of them does not run",
    ),
    (
        "torch.distributed.DistNetworkError: The client socket has timed out after 6000ms while trying to connect to (r0, 29557).",
        Cause.RENDEZVOUS_FAILED,
        "one of them does not run",
    ),
    (
        (
            "[rank0]:[E321 02:07:08.408271257 ProcessGroupNCCL.cpp:607] [Rank 0] Watchdog caught collective operation timeout:"
            " WorkNCCL(SeqNum=1580, OpType=ALLREDUCE, NumelIn=466119168, NumelOut=466119168, Timeout(ms)=600000) ran for 600060"
            " milliseconds before timing out."
        ),
        Cause.COLLECTIVE_FAILED,
        "the network between these nodes",
    ),
    (
        (
            "[rank7]:[E626 05:14:36.393067540 ProcessGroupNCCL.cpp:1743] [PG ID 0 PG GUID 0(default_pg) Rank 7] ProcessGroupNCCL's"
            " watchdog got stuck for 480 seconds without making progress in monitoring enqueued collectives."
        ),
        Cause.COLLECTIVE_FAILED,
        "the rank that ended first",
    ),
    (
        (
            f"{_C10D}/NCCLUtils.hpp:317, internal error - please report this issue to the NCCL developers, NCCL version 2.21.5\n"
            "ncclInternalError: Internal check failed.\nLast error:\n"
        ),
        Cause.COLLECTIVE_FAILED,
        "NCCL_SOCKET_IFNAME",
    ),
    (
        (
            f"{_C10D}/NCCLUtils.hpp:268, remote process exited or there was a network error, NCCL version 2.21.5\n"
            "ncclRemoteError: A call failed possibly due to a network error or a remote process exiting prematurely.\n"
            "Last error:\nsocketProgressOpt: Call to recv from 172.16.0.9<33759> failed : Connection reset by peer"
        ),
        Cause.COLLECTIVE_FAILED,
        "the rank that ended first",
    ),
    (
        (
            f"{_C10D}/ProcessGroupNCCL.cpp:1331, unhandled cuda error (run with NCCL_DEBUG=INFO for details), NCCL version 2.18.6\n"
            "ncclUnhandledCudaError: Call to CUDA function failed.\nLast error:\nCuda failure 'out of memory'"
        ),
        Cause.COLLECTIVE_FAILED,
        "the GPU error before this one",
    ),
    ("RuntimeError: CUDA error: uncorrectable ECC error encountered", Cause.DEVICE_FAILED, "kubectl cordon"),
    ("NVRM: Xid (PCI:0000:3b:00): 79, pid=1, GPU has fallen off the bus.", Cause.DEVICE_FAILED, "kubectl cordon"),
    ("RuntimeError: CUDA error: device-side assert triggered", Cause.USER_ERROR, "CUDA_LAUNCH_BLOCKING"),
    ("RuntimeError: No CUDA GPUs are available", Cause.CONFIG_INVALID, "workers.gpusPerNode"),
    (
        "RuntimeError: [../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [10.0.0.7]:41233",
        Cause.COLLECTIVE_FAILED,
        "the rank that ended first",
    ),
    (
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.15 GiB",
        Cause.OUT_OF_MEMORY,
        "microBatchSize",
    ),
    (
        (
            "RuntimeError: DataLoader worker (pid 41) is killed by signal: Bus error. It is possible that dataloader's workers are out"
            " of shared memory. Please try to raise your shared memory limit."
        ),
        Cause.OUT_OF_MEMORY,
        "/dev/shm",
    ),
    (
        (
            "Expected to have finished reduction in the prior iteration before starting a new one. This error indicates that your"
            " module has parameters that were not used in producing loss. You can enable unused parameter detection by passing"
            " the keyword argument `find_unused_parameters=True`"
        ),
        Cause.USER_ERROR,
        "freeze the parameters",
    ),
    (
        "Expected more than 1 value per channel when training, got input size torch.Size([1, 512, 1, 1])",
        Cause.CONFIG_INVALID,
        "recipe.microBatchSize",
    ),
]


@pytest.mark.parametrize(("text", "cause", "remedy"), TEXTS, ids=[text[:40] for text, _, _ in TEXTS])
def test_text_says_its_cause_and_remedy_in_a_log_and_in_an_exception(text: str, cause: Cause, remedy: str) -> None:
    meaning = explain_text(f"step 11: loss 0.3\n{text}\nframe #0: c10::Error::Error(c10::SourceLocation)")
    failure = classify_failure(RuntimeError(text), rank=0)

    assert meaning is not None
    assert (meaning.cause, failure.cause) == (cause, cause)
    assert remedy in meaning.remedy
    assert failure.remedy == meaning.remedy
    assert meaning.finding in text
    assert "\n" not in meaning.finding


@pytest.mark.parametrize(
    "text", ["", "ValueError: no such column", "epoch 3: train/loss 0.5", "TypeError: forward() takes 1 argument"]
)
def test_nothing_is_read_into_other_texts(text: str) -> None:
    assert explain_text(text) is None


def test_every_row_says_what_to_do() -> None:
    assert all(re.compile(pattern) and len(remedy) > 20 for pattern, _, remedy in _TABLE)
