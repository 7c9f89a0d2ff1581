"""Checks that are not made twice say the same as those that are."""

from typing import Any

import pytest

from oarlock_api.validation import recall_training_job, validate_training_job

VALID: dict[str, Any] = {"dataset": {"name": "fashion"}, "model": {"name": "lenet"}}


@pytest.mark.parametrize("name", ["lenet", "Not A Name", "n" * 41])
@pytest.mark.parametrize(
    "spec",
    [VALID, {**VALID, "recipe": {"batchSize": "many"}}, {**VALID, "workers": {"nodes": 0}}, {}, {**VALID, "typo": 1}],
    ids=["valid", "wrong type", "out of bounds", "empty", "unknown field"],
)
def test_a_recalled_check_says_what_a_new_one_does(spec: dict[str, Any], name: str) -> None:
    fresh = validate_training_job(spec, name=name)

    assert recall_training_job(spec, name=name) == fresh
    assert recall_training_job(spec, name=name) == fresh
