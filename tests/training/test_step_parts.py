"""What the time of a step is put down to, by clocks that are turned by hand."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oarlock_trainer.step_parts import MEASURED, DeviceLaps, Laps, StepPart, fit_parts

SECONDS = {part: float(number) for number, part in enumerate(StepPart, 1)}
MICRO_BATCH = (StepPart.PREPARE, StepPart.FORWARD, StepPart.BACKWARD, StepPart.OTHER)


@dataclass
class Clock:
    """Seconds as they are set."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


class Device:
    """A stream that is worked off by hand: an event has come by once the device is at its place."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.laid, self.done = clock, 0, 0

    def make_event(self) -> "Event":
        return Event(self)


class Event:
    """A mark in the stream of such a device."""

    def __init__(self, device: Device) -> None:
        self.device, self.place, self.time = device, 0, 0.0

    def record(self) -> None:
        self.device.laid += 1
        self.place, self.time = self.device.laid, self.device.clock()

    def query(self) -> bool:
        return self.place <= self.device.done

    def elapsed_time(self, end_event: "Event", /) -> float:
        assert self.query()
        assert end_event.query()
        return 1e3 * (end_event.time - self.time)


def take_step(laps: Laps, clock: Clock, parts: Sequence[StepPart] = (), *, slower: float = 1.0) -> float:
    """Let each part last as long as `SECONDS` says, and twice as long between this step and the next."""
    for part in (StepPart.DATA_WAIT, *(parts or MICRO_BATCH), StepPart.OPTIMIZER):
        laps.start(part)
        clock.now += slower * SECONDS[part]
    waited = laps.end_step()
    clock.now += 2.0
    return waited


def test_parts_add_up_over_micro_batches_and_steps() -> None:
    clock = Clock()
    laps = Laps(clock=clock)

    waits = [take_step(laps, clock, MICRO_BATCH * 2) for _ in range(3)]
    parts = laps.close_window()

    assert waits == [SECONDS[StepPart.DATA_WAIT]] * 3
    assert parts == (4.0, 6.0, 8.0, 5.0)
    assert laps.close_window() == parts, "a window without a step"
    assert take_step(laps, clock, slower=2.0) == 2.0
    assert laps.close_window() == (4.0, 6.0, 8.0, 10.0)


def test_a_device_tells_of_one_step_of_a_window_once_it_has_come_by() -> None:
    clock = Clock()
    device = Device(clock)
    laps = Laps(DeviceLaps(device.make_event), clock=clock)

    take_step(laps, clock, slower=9.0)
    assert (laps.close_window(), device.laid) == ((), 0), "a first step holds the warm-up"

    take_step(laps, clock, MICRO_BATCH * 2)
    laid = device.laid
    take_step(laps, clock, slower=9.0)
    assert (laps.close_window(), device.laid) == ((), laid), "nobody waits for the device"

    take_step(laps, clock, slower=9.0)
    assert device.laid == laid, "one measurement is on its way at most"
    device.done = device.laid
    assert laps.close_window() == pytest.approx((4.0, 6.0, 8.0, 5.0))

    take_step(laps, clock, slower=3.0)
    device.done = device.laid
    assert laps.close_window() == pytest.approx((6.0, 9.0, 12.0, 15.0))


@given(st.lists(st.floats(0, 1e6), min_size=len(MEASURED), max_size=len(MEASURED)), st.floats(0, 1e6))
def test_parts_never_come_to_more_than_the_step(parts: list[float], seconds: float) -> None:
    fitted = fit_parts(parts, seconds)

    assert sum(fitted) <= seconds * (1 + 1e-9)
    assert sum(parts) > seconds or fitted == tuple(parts)
