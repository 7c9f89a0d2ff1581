"""When to validate, when to save, how fast it goes."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oarlock_api.v1alpha1.recipe import ValidationInterval
from oarlock_api.v1alpha1.training_job import CheckpointInterval
from oarlock_trainer.agreement import LONGEST_INTERVAL, choose_interval
from oarlock_trainer.cadence import Length, SaveClock, SavePlan, count_validations, is_validation_due
from oarlock_trainer.throughput import Throughput

lengths = st.builds(Length, steps=st.integers(1, 120), batch_size=st.integers(1, 50), train_samples=st.integers(1, 200))
intervals = st.one_of(
    st.builds(ValidationInterval, epochs=st.one_of(st.integers(1, 4), st.floats(0.001, 4))),
    st.builds(ValidationInterval, steps=st.integers(1, 40)),
)
LENGTH = Length(steps=100, batch_size=10, train_samples=95)


@given(length=lengths, every=intervals, data=st.data())
def test_the_validations_to_come_are_counted_right(
    length: Length, every: ValidationInterval, data: st.DataObject
) -> None:
    step = data.draw(st.integers(0, length.steps))

    to_come = [
        later for later in range(step + 1, length.steps + 1) if is_validation_due(later, every=every, length=length)
    ]

    assert count_validations(step, every=every, length=length) == len(to_come)
    assert is_validation_due(length.steps, every=every, length=length)


def test_validation_falls_on_the_first_step_that_completes_an_epoch() -> None:
    due = [step for step in range(31) if is_validation_due(step, every=ValidationInterval(epochs=1), length=LENGTH)]

    assert due == [10, 19, 29]


@settings(max_examples=25)
@given(parts=st.sampled_from([1, 2, 4, 5, 8, 10]), epochs=st.integers(1, 9), samples=st.integers(10, 100))
def test_validation_falls_on_the_end_of_every_epoch_when_its_interval_divides_one(
    parts: int, epochs: int, samples: int
) -> None:
    """Nothing is lost to binary fractions: 0.1 of an epoch, ten times, is an epoch."""
    length, every = Length(steps=1000, batch_size=1, train_samples=samples), ValidationInterval(epochs=1 / parts)

    due = [step for step in range(epochs * samples + 1) if is_validation_due(step, every=every, length=length)]

    assert len(due) == epochs * parts
    assert due[parts - 1 :: parts] == [samples * (epoch + 1) for epoch in range(epochs)]


@given(length=lengths, epochs=st.floats(0.01, 50))
def test_a_run_ends_at_the_epochs_that_it_was_asked_for_when_its_last_batch_goes_beyond(
    length: Length, epochs: float
) -> None:
    steps = math.ceil(epochs * (length.train_samples / length.batch_size))
    asked = replace(length, steps=steps, epochs=epochs)

    assert asked.epoch(steps) == pytest.approx(epochs)
    assert asked.epoch(steps) <= epochs
    assert [asked.epoch(step) for step in (0, steps - 1)] == [length.epoch(step) for step in (0, steps - 1)]


def test_half_an_epoch_is_an_interval_for_saving_too() -> None:
    plan = SavePlan(every=CheckpointInterval(epochs=0.5), length=LENGTH, last_step=20)

    assert [step for step in range(20, 30) if plan.is_due(step)] == [25, 26, 27, 28, 29]


def test_a_save_is_due_by_whichever_interval_ends_first() -> None:
    plan = SavePlan(every=CheckpointInterval(steps=7, epochs=1, minutes=10), length=LENGTH, last_step=20)

    assert [step for step in range(20, 30) if plan.is_due(step)] == [27, 28, 29]
    assert plan.after_verdict(save=True, may_save=True).is_due(21)
    assert not plan.after_verdict(save=True, may_save=True).after_save(21).is_due(22)


def test_a_save_by_epochs_is_left_out_when_it_is_not_worth_its_cost_but_one_by_steps_never() -> None:
    by_epochs = SavePlan(every=CheckpointInterval(epochs=1, minutes=10), length=LENGTH, last_step=0)
    by_steps = SavePlan(every=CheckpointInterval(steps=5), length=LENGTH, last_step=0)

    assert by_epochs.is_due(10)
    assert not by_epochs.after_verdict(save=True, may_save=False).is_due(10)
    assert by_steps.after_verdict(save=False, may_save=False).is_due(5)


def test_saving_takes_a_hundredth_of_the_time_at_most() -> None:
    clock = SaveClock(CheckpointInterval(minutes=1), now=0.0)
    assert clock.is_worth_it(0.0)

    clock.note_save(10.0)
    clock.note_cost(0.5)

    assert (clock.is_worth_it(59.0), clock.is_worth_it(60.0)) == (False, True)
    assert (clock.is_due(69.0), clock.is_due(70.0)) == (False, True)


def test_pauses_do_not_count_as_training_when_the_pace_is_measured() -> None:
    throughput = Throughput(batch_size=32, now=0.0)
    for _ in range(10):
        throughput.count_step(0.01)
    throughput.pause(1.0)
    throughput.resume(61.0)

    pace = throughput.close_window(62.0)

    assert pace is not None
    assert (pace.step_seconds, pace.samples_per_second) == (0.2, 160.0)
    assert round(pace.wait_seconds, 6) == 0.01


def test_the_forecast_forgets_the_warm_up_and_includes_validations() -> None:
    throughput = Throughput(batch_size=1, now=0.0)
    throughput.count_step(0.0)
    throughput.close_window(30.0)
    for _ in range(10):
        throughput.count_step(0.0)
    throughput.close_window(40.0)
    throughput.note_validation(5.0)

    assert throughput.forecast(steps_left=100, validations_left=3) == 115.0


def measure_save(stretches: list[tuple[float, bool]]) -> float:
    """Run stretches of ten steps, some beside a save, and return what the last save cost; its stall was 0.5 s, durable 2 s."""
    throughput, now, cost = Throughput(batch_size=1, now=0.0), 0.0, 0.0
    for seconds, is_saving in stretches:
        if is_saving:
            throughput.begin_save()
        for _ in range(10):
            throughput.count_step(0.0)
        now += seconds
        throughput.close_window(now)
        if is_saving:
            cost = throughput.end_save(stall_seconds=0.5, durable_seconds=2.0)
    return cost


def test_a_save_costs_its_stall_and_what_the_steps_beside_it_lost() -> None:
    warm_up, usual = (90.0, False), (10.0, False)

    assert measure_save([warm_up, usual, usual, (11.0, True)]) == 1.5
    assert measure_save([warm_up, usual, usual, (9.0, True)]) == 0.5
    assert measure_save([warm_up, usual, usual, (60.0, True)]) == 2.5


def test_an_exchange_comes_about_once_a_second() -> None:
    assert [choose_interval(seconds) for seconds in (0.0, 0.01, 0.3, 7.0, 1e-6)] == [1, 100, 3, 1, LONGEST_INTERVAL]
