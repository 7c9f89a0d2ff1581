"""Jobs as an API server stored them under the schema before: it filled in parameters whatever the name beside them.

stored_before.json holds what was written, and what that schema made of it.
"""

import json
from pathlib import Path
from typing import Any

import celpy
import pytest
from api.test_resolve import run_of
from celpy.adapter import json_to_cel

from oarlock_api import rules
from oarlock_api.optimizers import resolve_optimizer
from oarlock_api.resolve import first_spec_change
from oarlock_api.rule import Rule
from oarlock_api.schedules import resolve_schedule
from oarlock_api.v1alpha1 import TrainingJobSpec
from oarlock_api.v1alpha1.recipe import Optimizer, Schedule
from oarlock_api.validation import validate_training_job

JOBS: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("stored_before.json").read_text())
CHOICES = [rule for rule in rules.TRAINING_JOB_RULES if rule.at in {"spec.recipe.optimizer", "spec.recipe.schedule"}]


@pytest.mark.parametrize("name", JOBS)
def test_a_job_that_is_stored_with_former_defaults_is_what_was_written(name: str) -> None:
    written, stored = JOBS[name]["written"], JOBS[name]["stored"]
    checked = validate_training_job(stored, name="digits")

    assert not checked.findings
    assert run_of(stored).training_hash == run_of(written).training_hash
    assert run_of(stored).recipe == run_of(written).recipe
    # An operator of the version before left its defaults out of what it accepted.
    accepted = run_of(stored).model_copy(update={"accepted": written})
    assert first_spec_change(accepted, TrainingJobSpec.from_wire(stored)) is None


@pytest.mark.parametrize("rule", CHOICES, ids=lambda rule: rule.rule[:50])
def test_the_api_server_takes_what_it_stored(rule: Rule) -> None:
    environment = celpy.Environment()
    program = environment.program(environment.compile(rule.cel))
    for job in JOBS.values():
        part = job["stored"]["recipe"][rule.at.rpartition(".")[2]]
        assert program.evaluate({"self": json_to_cel(part)})


def test_a_former_default_that_somebody_wrote_is_heeded() -> None:
    exponential = resolve_schedule(Schedule.from_wire({"name": "exponential", "gamma": 0.1}))
    muon = resolve_optimizer(Optimizer.from_wire({"name": "muon", "nesterov": False}))

    assert (exponential.gamma, muon.nesterov) == (0.1, False)


@pytest.mark.parametrize(
    "recipe",
    [{"schedule": {"name": "cosine", "gamma": 0.2}}, {"optimizer": {"name": "sgd", "beta1": 0.8}}],
)
def test_a_parameter_that_the_name_lacks_is_refused_when_somebody_wrote_it(recipe: dict[str, Any]) -> None:
    spec = {**JOBS["two lines"]["written"], "recipe": recipe}

    assert "must be" in str(validate_training_job(spec, name="digits").findings)
