"""What a rank does in each scene of the faults: `fault_ranks.py SCENARIO`. A script, never imported.

It notes when the fault begins, in the file that FAULT_BEGAN names, so that the tests know how long naming it takes.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from oarlock_api.contract import EXIT_CODES, Cause, Failure, Outcome, PodPhase
from oarlock_trainer.errors import TrainerError
from oarlock_trainer.process_death import die_with_parent
from oarlock_trainer.rank_record import RANK_RECORD_DIR_ENV, RankRecord

RANK = int(os.environ["RANK"])
RETRY = int(Path(os.environ[RANK_RECORD_DIR_ENV]).name)
_AGES = 1000.0


def begin_fault() -> None:
    Path(os.environ["FAULT_BEGAN"]).touch()


def die(record: RankRecord, cause: Cause, message: str, *, remedy: str) -> NoReturn:
    record.fail(Failure(cause=cause, message=message, remedy=remedy, detail="Traceback: the end"))
    sys.exit(EXIT_CODES[cause])


def train_on(record: RankRecord) -> NoReturn:
    step = 5
    while True:
        step += 1
        record.beat(PodPhase.TRAINING, step=step)
        time.sleep(0.05)


def wait_in_collective() -> None:
    """Wait as a rank does whose peers do not come: with a frame of torch's on its stack."""
    code = compile("def all_reduce(wait): wait(1000)", "/site-packages/torch/distributed/distributed_c10d.py", "exec")
    names: dict[str, Any] = {}
    exec(code, names)
    names["all_reduce"](time.sleep)


def wait_for_ever(record: RankRecord) -> None:
    wait_in_collective()


def connect_for_ever(record: RankRecord) -> None:
    """Has met the others at the rendezvous port, and does not get through on the ports of the processes."""
    begin_fault()
    record.beat(PodPhase.RENDEZVOUS)
    wait_in_collective()


def user_exception(record: RankRecord) -> None:
    begin_fault()
    if RANK == 1:
        die(
            record,
            Cause.USER_ERROR,
            "ValueError: no such column",
            remedy="see the traceback; the same error will come again until the code or the data changes",
        )
    time.sleep(0.3)
    lose_peer(record)


def lose_peer(record: RankRecord) -> None:
    begin_fault()
    die(
        record,
        Cause.COLLECTIVE_FAILED,
        "RuntimeError: [gloo/transport/tcp/pair.cc:534] Connection closed by peer [10.0.0.7]:41233",
        remedy="see the rank that ended first",
    )


def kill_self(record: RankRecord, number: int = signal.SIGKILL) -> None:
    if RANK != 1:
        time.sleep(2)
        lose_peer(record)
    time.sleep(0.5)
    begin_fault()
    os.kill(os.getpid(), number)


def print_and_abort(record: RankRecord, text: str, number: int = signal.SIGABRT) -> None:
    time.sleep(0.5)
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
    begin_fault()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def nccl_watchdog(record: RankRecord) -> None:
    print_and_abort(
        record,
        "[rank0]:[E321 02:07:08.408271257 ProcessGroupNCCL.cpp:607] [Rank 0] Watchdog caught collective operation timeout:"
        " WorkNCCL(SeqNum=1580, OpType=ALLREDUCE, NumelIn=466119168, NumelOut=466119168, Timeout(ms)=600000) ran for 600060"
        " milliseconds before timing out.\n"
        "terminate called after throwing an instance of 'c10::DistBackendError'",
    )


def nccl_remote(record: RankRecord) -> None:
    print_and_abort(
        record,
        "torch.distributed.DistBackendError: NCCL error in: /pytorch/torch/csrc/distributed/c10d/NCCLUtils.hpp:268, remote"
        " process exited or there was a network error, NCCL version 2.21.5\n"
        "ncclRemoteError: A call failed possibly due to a network error or a remote process exiting prematurely.\n"
        "Last error:\nsocketProgressOpt: Call to recv from 172.16.0.9<33759> failed : Connection reset by peer",
    )


def broken_gpu(record: RankRecord) -> None:
    print_and_abort(record, "RuntimeError: CUDA error: uncorrectable ECC error encountered")


def small_shared_memory(record: RankRecord) -> None:
    print_and_abort(
        record,
        "RuntimeError: DataLoader worker (pid 41) is killed by signal: Bus error. It is possible that dataloader's workers are"
        " out of shared memory.",
        signal.SIGBUS,
    )


def segfault(record: RankRecord) -> None:
    time.sleep(0.5)
    begin_fault()
    ctypes.string_at(0)


def exit_unsaid(record: RankRecord) -> None:
    record.beat(PodPhase.LOADING)
    time.sleep(0.5)
    sys.stderr.write("ImportError: no such module\n")
    begin_fault()
    sys.exit(3)


def eat_memory(record: RankRecord) -> None:
    if RANK != 1:
        train_on(record)
    time.sleep(1)
    begin_fault()
    hoard = []
    while True:
        hoard.append(b"x" * (1 << 20))


def superseded(record: RankRecord) -> None:
    begin_fault()
    die(
        record,
        Cause.SUPERSEDED,
        "attempt 1 of this job owns the volume",
        remedy="nothing is to be done: the later attempt trains on",
    )


def launcher_killed(record: RankRecord) -> None:
    if RANK == 0:
        time.sleep(0.5)
        begin_fault()
        os.kill(os.getppid(), signal.SIGKILL)
    train_on(record)


def agent_killed(record: RankRecord) -> None:
    time.sleep(0.5)
    begin_fault()
    os.kill(int(os.environ["FAULT_AGENT"]), signal.SIGKILL)
    train_on(record)


def killed_once(record: RankRecord) -> None:
    if RETRY == 0:
        kill_self(record)
    train_on(record)


def stop_self(record: RankRecord) -> None:
    if RANK == 1:
        begin_fault()
        os.kill(os.getpid(), signal.SIGSTOP)
    wait_in_collective()


def hang_in_user_code(record: RankRecord) -> None:
    if RANK == 1:
        begin_fault()
        time.sleep(_AGES)
    wait_in_collective()


def hang_in_validation(record: RankRecord) -> None:
    record.beat(PodPhase.VALIDATING)
    hang_in_user_code(record)


def hang_in_checkpoint(record: RankRecord) -> None:
    """Writes to a pipe that nobody reads, as to a volume that does not answer."""
    record.beat(PodPhase.CHECKPOINTING)
    if RANK == 1:
        pipe = Path(os.environ["FAULT_BEGAN"]).with_name("volume")
        os.mkfifo(pipe)
        begin_fault()
        pipe.write_bytes(b"weights")
    wait_in_collective()


def stuck_data_worker(record: RankRecord) -> None:
    if RANK == 1:
        worker = subprocess.Popen(["sleep", "1000"])
        os.kill(worker.pid, signal.SIGSTOP)
        begin_fault()
        worker.wait()
    wait_in_collective()


def everybody_waits(record: RankRecord) -> None:
    begin_fault()
    wait_in_collective()


def read_rows(record: RankRecord, spoil: Callable[[Path], None] = lambda _: None) -> None:
    """Read all rows as a trainer does, again and again, once something was done to the folder of the data set."""
    import numpy as np

    from oarlock_trainer.datasets import Readers, open_dataset

    folder, readers = Path(os.environ["OARLOCK_DATA_DIR"]), Readers(2, name="reader")
    split = open_dataset(folder).split("train")
    rows = np.arange(len(split))
    begin_fault()
    try:
        for _ in range(2):
            split.gather(rows, readers=readers)
            spoil(folder)
    except TrainerError as error:
        die(record, error.cause, str(error), remedy=error.remedy)


def cut_file(record: RankRecord) -> None:
    """The rows are small: nothing tells of the lost pages before they are touched."""
    read_rows(record, lambda folder: os.truncate(folder / "train-00000.arrow", 100))


def lose_reader(record: RankRecord) -> None:
    """A native library ends the thread that called it; Python does not hear of it."""
    if RETRY:
        train_on(record)
    from oarlock_trainer.datasets import Readers

    ahead = Readers(1, name="batches")
    begin_fault()
    try:
        ahead.result(ahead.submit(lambda: ctypes.CDLL(None).pthread_exit(None), what="the batch of step 6"))
    except TrainerError as error:
        die(record, error.cause, str(error), remedy=error.remedy)


def not_finite(record: RankRecord) -> None:
    begin_fault()
    record.report(non_finite=["train/loss"])
    train_on(record)


def checkpoint_skipped(record: RankRecord) -> None:
    begin_fault()
    record.report(warnings=["the checkpoint of step 40 was not saved and the next one is tried at the next interval"])
    train_on(record)


def finish(record: RankRecord) -> None:
    record.finish(Outcome.SUCCEEDED)


if __name__ == "__main__":
    die_with_parent()
    record = RankRecord.from_environment()
    play = globals()[sys.argv[1].replace("-", "_")]
    if play is not connect_for_ever:
        record.beat(PodPhase.TRAINING, step=5, position=50)
    play(record)
