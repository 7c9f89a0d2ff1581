"""ROC and precision-recall, against their definitions."""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from oarlock_trainer.reports.rates import build_rate_charts, compute_rates

Scored = list[tuple[float, bool]]


@given(st.lists(st.tuples(st.integers(0, 5).map(float), st.booleans()), min_size=2, max_size=30))
def test_the_area_is_the_chance_that_a_sample_of_the_class_scores_higher(scored: Scored) -> None:
    assume(len({of_class for _, of_class in scored}) == 2)
    scores, of_class = (np.array(column) for column in zip(*scored, strict=True))
    pairs = itertools.product(scores[of_class], scores[~of_class])
    wins = [1.0 if one > other else 0.5 if one == other else 0.0 for one, other in pairs]

    rates = compute_rates(scores, of_class)

    assert rates is not None
    assert rates.area == pytest.approx(np.mean(wins))
    assert (rates.recall[0], rates.recall[-1], rates.false_positive[-1]) == (0, 1, 1)
    assert np.all(np.diff(rates.recall) >= 0)


def test_precision_is_averaged_over_what_is_recalled() -> None:
    rates = compute_rates(np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, False, True, False]))

    assert rates is not None
    assert rates.average_precision == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_a_class_that_no_sample_has_gets_no_curve() -> None:
    assert compute_rates(np.array([0.1, 0.2]), np.array([False, False])) is None
    assert build_rate_charts([None, None], ["a", "b"]) == ()


def test_of_many_classes_the_hardest_are_drawn() -> None:
    dice = np.random.default_rng(0)
    truth = np.arange(200) % 20
    rates = [compute_rates(dice.normal(size=200) + (truth == c) * c / 4, truth == c) for c in range(20)]
    roc, precision = build_rate_charts(rates, [f"c{c}" for c in range(20)])

    areas = sorted((rate.area, c) for c, rate in enumerate(rates) if rate)
    assert [curve.name.split()[0] for curve in roc.curves[:-1]] == [f"c{c}" for _, c in areas[:6]]
    assert len(precision.curves) == 6
