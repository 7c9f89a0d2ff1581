"""Real gloo ranks without a launcher: children of a fork server that has imported the trainer once, so they start in milliseconds."""

import multiprocessing
import os
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch

from control_plane.ports import pick_free_ports

_CONTEXT = multiprocessing.get_context("forkserver")
# An optimizer imports torch._dynamo, and the first gather pyarrow.compute: half a second that every fork would pay again.
PRELOAD = ["oarlock_trainer.loop", "torch._dynamo", "pyarrow.compute"]
_CONTEXT.set_forkserver_preload(PRELOAD)
_SECONDS = 300


class RankFailedError(Exception):
    """A rank raised; the message is its traceback."""


def run_ranks(processes: int, act: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Call `act(*arguments)` in `processes` ranks with torchrun's variables set, and return their answers by rank.

    `act` is a function of an importable module. The first rank that raises makes this raise.
    """
    [port] = pick_free_ports(1)
    ranks = []
    for rank in range(processes):
        receiver, sender = _CONTEXT.Pipe(duplex=False)
        process = _CONTEXT.Process(
            target=_run_rank, args=(sender, _describe_rank(rank, processes, port), act, arguments), daemon=True
        )
        process.start()
        sender.close()
        ranks.append((process, receiver))
    try:
        answers = [_receive(receiver) for _, receiver in ranks]
    finally:
        for process, _ in ranks:
            process.join(5)
            process.kill()
    failures = [answer for answer in answers if isinstance(answer, RankFailedError)]
    if failures:
        raise failures[0]
    return answers


def _receive(receiver: Connection) -> Any:
    if not receiver.poll(_SECONDS):
        return RankFailedError(f"no answer within {_SECONDS} s")
    try:
        return receiver.recv()
    except EOFError:
        return RankFailedError("the rank ended without an answer")


def _describe_rank(rank: int, processes: int, port: int) -> dict[str, str]:
    """Return the variables that torchrun would set."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def _run_rank(
    sender: Connection, environment: dict[str, str], act: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    torch.set_num_threads(1)
    os.environ |= environment
    try:
        sender.send(act(*arguments))
    except BaseException:  # noqa: BLE001  # whatever it is, the test wants to see it
        sender.send(RankFailedError(traceback.format_exc()))
    sender.close()
    os._exit(0)
