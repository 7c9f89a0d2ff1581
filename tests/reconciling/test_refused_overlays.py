"""Pod templates that the administrator does not allow, from the manifest to what is not created."""

from dataclasses import replace
from typing import Any

from reconciling.dataset_states import make_dataset_spec, observe_dataset
from reconciling.job_states import NOW, SETTINGS, accept, condition, make_spec, observe, plan, status_of

from oarlock_api.v1alpha1.status import DatasetPhase, DatasetStatus, JobPhase
from oarlock_operator.reconcile.dataset import plan_dataset
from oarlock_operator.reconcile.training_job import plan_job

TEMPLATE: dict[str, Any] = {"serviceAccountName": "deployer"}
ALLOWING = replace(SETTINGS, allowed_service_accounts="deployer")
SAID = "spec.workers.podTemplate.serviceAccountName must be allowed by the administrator, got 'deployer'"


def make_overlaid_spec() -> dict[str, Any]:
    return make_spec(workers={"nodes": 1, "podTemplate": TEMPLATE})


def test_job_is_invalid_and_nothing_is_created_when_its_overlay_is_refused() -> None:
    planned = plan(observe(spec=make_overlaid_spec()))
    status = status_of(planned)

    assert (status.phase, status.reason, condition(status, "Valid")) == (
        JobPhase.INVALID,
        "InvalidSpec",
        ("False", "InvalidSpec"),
    )
    assert SAID in status.message
    assert "podOverlays.serviceAccounts of the chart" in status.message
    assert status.run is None
    assert not planned.create


def test_job_starts_with_its_overlay_when_the_administrator_allows_it() -> None:
    planned = plan_job(observe(spec=make_overlaid_spec(), confirmed=True), now=NOW, settings=ALLOWING)
    [pod] = [manifest for manifest in planned.create if manifest["kind"] == "Pod"]

    assert pod["spec"]["serviceAccountName"] == "deployer"
    assert pod["spec"]["automountServiceAccountToken"] is False


def test_accepted_job_gets_no_further_pods_when_its_overlay_is_closed_again() -> None:
    job = observe(spec=make_overlaid_spec(), confirmed=True)
    accepted = status_of(plan_job(job, now=NOW, settings=ALLOWING))

    planned = plan(replace(job, status=accepted))
    status = status_of(planned)

    assert (status.phase, status.reason, planned.create) == (JobPhase.STARTING, "OverlayRefused", ())
    assert SAID in status.message


def test_forged_run_gets_no_pods_when_somebody_writes_an_overlay_into_the_status() -> None:
    job = accept()
    run = {**(job.status.run or {})}
    run["workers"] = {**run["workers"], "podTemplate": TEMPLATE}

    planned = plan(replace(job, status=job.status.model_copy(update={"run": run}), pods=()))

    assert not [manifest for manifest in planned.create if manifest["kind"] == "Pod"]


def test_dataset_is_invalid_and_nothing_is_created_when_its_overlay_is_refused() -> None:
    data = observe_dataset(spec=make_dataset_spec(podTemplate=TEMPLATE), confirmed=True)
    refused, allowed = (plan_dataset(data, now=NOW, settings=settings) for settings in (SETTINGS, ALLOWING))
    pods = [manifest for manifest in allowed.create if manifest["kind"] == "Pod"]

    assert isinstance(refused.status, DatasetStatus)
    assert refused.status.phase is DatasetPhase.INVALID
    assert SAID.replace("workers.", "") in refused.status.message
    assert not refused.create
    assert pods[0]["spec"]["serviceAccountName"] == "deployer"
