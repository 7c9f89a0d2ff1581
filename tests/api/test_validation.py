"""Malformed manifests: each finding names path, rule, what was found and what to do."""

from typing import Any

import pytest
from api.malformed import BAD_DATASETS, BAD_JOBS, BAD_NAMES, DATASET, JOB, job

from oarlock_api.validation import validate_dataset, validate_training_job


def test_nothing_is_found_when_a_job_has_a_dataset_and_a_model() -> None:
    assert validate_training_job(JOB, name="digits-lenet").findings == ()


def test_nothing_is_found_when_a_dataset_has_a_source_and_a_layout() -> None:
    assert validate_dataset(DATASET, name="digits").findings == ()


@pytest.mark.parametrize(("spec", "path", "says"), BAD_JOBS, ids=[f"{path}-{says[:20]}" for _, path, says in BAD_JOBS])
def test_a_finding_names_path_and_remedy_when_a_job_is_malformed(spec: dict[str, Any], path: str, says: str) -> None:
    checked = validate_training_job(spec, name="digits-lenet")

    assert checked.model is None
    assert [finding for finding in checked.findings if not (finding.path and finding.rule and finding.remedy)] == []
    assert any(finding.path == path and says in str(finding) for finding in checked.findings), checked.findings


@pytest.mark.parametrize(
    ("spec", "path", "says"), BAD_DATASETS, ids=[f"{path}-{says[:20]}" for _, path, says in BAD_DATASETS]
)
def test_a_finding_names_path_and_remedy_when_a_dataset_is_malformed(
    spec: dict[str, Any], path: str, says: str
) -> None:
    checked = validate_dataset(spec, name="digits")

    assert checked.model is None
    assert [finding for finding in checked.findings if not (finding.path and finding.rule and finding.remedy)] == []
    assert any(finding.path == path and says in str(finding) for finding in checked.findings), checked.findings


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_finding_names_the_name_when_it_cannot_name_pods(name: str) -> None:
    assert [finding.path for finding in validate_training_job(JOB, name=name).findings] == ["metadata.name"]


def test_everything_is_said_at_once_when_several_things_are_wrong() -> None:
    spec = job(recipe={"epochs": 1, "maxSteps": 1, "schedule": {"gamma": 0.5}}, workers={"nodes": 0}, modle={})

    findings = validate_training_job(spec, name="X").findings

    paths = {finding.path for finding in findings}
    assert paths == {"metadata.name", "spec.recipe", "spec.recipe.schedule", "spec.workers.nodes", "spec.modle"}
