"""What a rank that does not move seems to do, from the kernel's word and from its stack: who holds up the others. Pure.

When one rank hangs, all others soon wait for it and are as silent. What tells them apart is where they are: the victims are in
a collective operation, the culprit is not.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from oarlock_api.contract import Standing

ORDER = tuple(Standing)
"""The likeliest culprit first."""
_HEADER = re.compile(r"^(?:Current thread|Thread) 0x[0-9a-f]+.*$", re.MULTILINE)
_FRAME = re.compile(r'^  File "(?P<file>[^"]+)", line (?P<line>\d+) in (?P<name>.+)$', re.MULTILINE)
_STANDARD_LIBRARY = re.compile(r"/python3[^/]*/(?!site-packages/|dist-packages/)|^<frozen")
_COLLECTIVE = re.compile(
    r"/torch/distributed/(?!checkpoint/)|/torch/nn/parallel/|/torch/autograd/graph\.py"
    r"|/oarlock_trainer/(checkpoints/)?(agreement|distributed)\.py"
)
_DATA = re.compile(r"/torch/utils/data/|/oarlock_trainer/(datasets/|batches\.py)")
_TRAINER = re.compile(r"/oarlock_trainer/")
_TORCH = re.compile(r"/site-packages/torch/|/dist-packages/torch/|/torch/(nn|cuda|_[a-z]+)/")
_SHOWN_FRAMES = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """One call on a stack."""

    file: str
    line: str
    name: str

    def __str__(self) -> str:
        return f"{'/'.join(self.file.split('/')[-2:])}:{self.line} in {self.name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a rank is."""

    standing: Standing
    where: str = ""
    """The innermost line that is not of the standard library."""
    stack: str = ""
    """The innermost calls of its main thread, one a line."""


def judge(*, state: str, children: Sequence[str], dump: str) -> Place:
    """Say what a rank does.

    Args:
        state: the kernel's letter for its process.
        children: the letters of its child processes.
        dump: what the fault handler wrote; empty if it did not.
    """
    frames = read_main_thread(dump)
    place = _judge_stack(frames)
    if state in "Tt":
        return replace(place, standing=Standing.STOPPED, where="")
    if any(letter in "Tt" for letter in children):
        return replace(place, standing=Standing.CHILD_STOPPED)
    return replace(place, standing=Standing.WAITS_FOR_DISK) if state == "D" else place


def read_main_thread(dump: str) -> tuple[Frame, ...]:
    """Return the calls of the main thread, the innermost first: it is the last thread in a dump, and the last dump counts."""
    parts = _HEADER.split(dump)
    if len(parts) == 1:
        return ()
    return tuple(Frame(**match.groupdict()) for match in _FRAME.finditer(parts[-1]))


def _judge_stack(frames: Sequence[Frame]) -> Place:
    stack = "\n".join(str(frame) for frame in frames[:_SHOWN_FRAMES])
    own = [frame for frame in frames if not _STANDARD_LIBRARY.search(frame.file)]
    if not own:
        where = str(frames[0]) if frames else ""
        return Place(standing=Standing.UNKNOWN, where=where, stack=stack)
    return Place(standing=_judge_calls(own), where=str(own[0]), stack=stack)


def _judge_calls(own: Sequence[Frame]) -> Standing:
    """Judge by the innermost call; what lies within torch belongs to whoever called it."""
    if _COLLECTIVE.search(own[0].file):
        return Standing.WAITS_FOR_RANKS
    caller = next((frame for frame in own if not _TORCH.search(frame.file)), own[-1])
    if any(_DATA.search(frame.file) for frame in own[: own.index(caller) + 1]):
        return Standing.WAITS_FOR_DATA
    # In the trainer's own step a rank may wait for its GPU, which waits for others.
    return Standing.UNKNOWN if _TRAINER.search(caller.file) else Standing.BUSY
