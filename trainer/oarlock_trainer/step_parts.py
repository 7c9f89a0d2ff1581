"""What the time of a step goes on: waiting for data, preparing it, forward, backward, optimizer, and the rest.

On a CPU every part of every step is measured by the clock. A GPU works behind the host: there its own events are laid into the
stream at one step of a reporting window, and read once it has come by, so that nobody ever waits for them. Waiting for data is
always the host's. Must not synchronise with the device, nor change what is computed.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Protocol, Self

import torch

_SECONDS = 1e-3
"""Of a millisecond, which events count in."""


class StepPart(StrEnum):
    """What a step goes on, in its order."""

    DATA_WAIT = "wait for data"
    PREPARE = "prepare"
    """Augmentation and normalisation."""
    FORWARD = "forward"
    """Network and loss."""
    BACKWARD = "backward"
    """Gradients, and their exchange between the processes, which goes on beside them."""
    OPTIMIZER = "optimizer"
    """Clipping, update, average of the weights."""
    OTHER = "other"
    """Bookkeeping, and whatever else there is until the next step."""


MEASURED = (StepPart.PREPARE, StepPart.FORWARD, StepPart.BACKWARD, StepPart.OPTIMIZER)
"""Parts of computing that are measured; the last one is what they leave of it."""
Parts = tuple[float, ...]
"""Seconds of a step for each of `MEASURED`; empty while nobody knows."""
Listener = Callable[[StepPart | None], None]
"""Hears which part begins; None: the step is done."""


class DeviceEvent(Protocol):
    """A mark in the stream of a device; torch.cuda.Event is one."""

    def record(self) -> None:
        """Lay it into the stream."""

    def query(self) -> bool:
        """Say, without waiting, whether the device has come by."""

    def elapsed_time(self, end_event: Self, /) -> float:
        """Return the milliseconds until another one; the device has come by both."""


class DeviceLaps:
    """The parts of one step now and then, as the device goes through them: a listener."""

    def __init__(self, make_event: Callable[[], DeviceEvent]) -> None:
        self._make_event = make_event
        self._marks: list[tuple[StepPart, DeviceEvent]] = []
        self._end: DeviceEvent | None = None
        self._is_wanted = self._is_measuring = False

    def __call__(self, part: StepPart | None) -> None:
        """Lay a mark where a part begins, if this is the step that is measured."""
        if part is StepPart.DATA_WAIT and self._is_wanted and self._end is None:
            self._marks, self._is_wanted, self._is_measuring = [], False, True
        if not self._is_measuring:
            return
        event = self._make_event()
        event.record()
        if part is None:
            self._end, self._is_measuring = event, False
        else:
            self._marks.append((part, event))

    def measure_one(self) -> None:
        """Ask for the next step to be measured; none is while the device has not come by the last one that was."""
        self._is_wanted = True

    def read(self) -> Mapping[StepPart, float] | None:
        """Return the seconds of the step that was measured, once, as soon as the device has come by its end."""
        if self._end is None or not self._end.query():
            return None
        ends = [*(event for _, event in self._marks[1:]), self._end]
        seconds = dict.fromkeys(StepPart, 0.0)
        for (part, begin), end in zip(self._marks, ends, strict=True):
            seconds[part] += begin.elapsed_time(end) * _SECONDS
        self._end = None
        return seconds


class Laps:
    """Tells the parts of one rank's steps apart: each lasts from its `start` to the next one."""

    def __init__(self, device: DeviceLaps | None = None, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._device, self._clock = device, clock
        self.listeners: list[Listener] = [device] if device is not None else []
        self._part, self._since = StepPart.OTHER, clock()
        self._seconds = dict.fromkeys(StepPart, 0.0)
        self._steps, self._waited = 0, 0.0
        self._parts: Parts = ()

    def start(self, part: StepPart) -> None:
        """Begin a part of the step; a part may come more than once in it."""
        for listen in self.listeners:
            listen(part)
        self._turn_to(part)

    def end_step(self) -> float:
        """Count a step; return the seconds for which it waited for its data."""
        for listen in self.listeners:
            listen(None)
        self._turn_to(StepPart.OTHER)
        waited, self._waited = self._seconds[StepPart.DATA_WAIT] - self._waited, self._seconds[StepPart.DATA_WAIT]
        self._steps += 1
        return waited

    def close_window(self) -> Parts:
        """Begin another window of steps; return the mean parts of the last one that had any, of a GPU those of one step."""
        if self._device is not None:
            found = self._device.read()
            self._device.measure_one()
            self._parts = self._parts if found is None else tuple(found[part] for part in MEASURED)
        elif self._steps:
            self._parts = tuple(self._seconds[part] / self._steps for part in MEASURED)
        self._seconds = dict.fromkeys(StepPart, 0.0)
        self._steps, self._waited = 0, 0.0
        return self._parts

    def _turn_to(self, part: StepPart) -> None:
        now = self._clock()
        self._seconds[self._part] += now - self._since
        self._part, self._since = part, now


def build_laps(device: torch.device) -> Laps:
    """Return what measures steps on `device`."""
    if device.type != "cuda":
        return Laps()
    return Laps(DeviceLaps(lambda: torch.cuda.Event(enable_timing=True)))  # type: ignore[no-untyped-call]


def fit_parts(parts: Iterable[float], seconds: float) -> Parts:
    """Return parts that come to `seconds` at most: one step may have taken longer than the mean of its window."""
    known = tuple(parts)
    total = sum(known)
    return tuple(part * seconds / total for part in known) if total > seconds else known
