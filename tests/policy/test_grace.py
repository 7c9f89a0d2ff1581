import math

import pytest

from oarlock_api.v1alpha1.training_job import RunPolicy
from oarlock_operator.policy.grace import lengthen_grace


@pytest.mark.parametrize(
    ("save_seconds", "grace"),
    [(None, 120), (math.nan, 120), (-1.0, 120), (40.0, 120), (40.1, 121), (1e9, 3600)],
)
def test_pods_have_three_times_the_last_save_when_that_is_longer(save_seconds: float | None, grace: int) -> None:
    assert lengthen_grace(RunPolicy(), save_seconds=save_seconds).grace_period_seconds == grace


def test_what_the_user_allows_stays_when_it_is_longer() -> None:
    policy = RunPolicy(grace_period_seconds=7200)

    assert lengthen_grace(policy, save_seconds=3000.0).grace_period_seconds == 7200
