"""When a run ends early."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oarlock_api.v1alpha1.recipe import EarlyStop
from oarlock_trainer.early_stopping import (
    count_validation,
    describe_early_stop,
    describe_patience,
    has_stopped_improving,
)

LOSS = EarlyStop.from_wire({"metric": "validation/loss", "patienceValidations": 3})


@given(st.lists(st.sampled_from([0.1, 0.2, 0.3, math.nan]), max_size=30))
def test_a_run_stops_after_as_many_validations_without_improvement_as_it_is_patient(losses: list[float]) -> None:
    counters: dict[str, float] = {}
    best, since = math.inf, 0
    for step, loss in enumerate(losses):
        count_validation(LOSS, counters, step, {"validation/loss": loss})
        best, since = (loss, 0) if loss < best else (best, since + 1)

        assert has_stopped_improving(LOSS, counters) == (since >= 3)


def test_the_best_step_is_named() -> None:
    counters: dict[str, float] = {}
    for step, loss in zip((10, 20, 30, 40), (0.5, 0.25, 0.3, 0.25), strict=True):
        count_validation(LOSS, counters, step, {"validation/loss": loss})

    assert not has_stopped_improving(LOSS, counters)
    assert describe_patience(LOSS, counters) == "validation/loss has not improved in 2 of 3 validations"
    assert describe_early_stop(LOSS, counters, 40) == (
        "stopped early at step 40: validation/loss has not improved on the 0.25 of step 20 in 2 validations"
    )


@pytest.mark.parametrize(("patience", "stops"), [(3, True), (4, False)])
def test_more_patience_goes_on_where_less_has_stopped(patience: int, stops: bool) -> None:  # noqa: FBT001  # a parameter
    counters: dict[str, float] = {"earlyStop/validationsSince": 3}
    rule = EarlyStop.from_wire({"metric": "validation/accuracy", "patienceValidations": patience})

    assert has_stopped_improving(rule, counters) is stops
    assert not has_stopped_improving(None, counters)
