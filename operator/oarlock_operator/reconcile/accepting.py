"""Before a job runs: its spec is checked, its Dataset awaited, and both are frozen into a run. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from oarlock_api.findings import Finding, InvalidError, describe_findings
from oarlock_api.job_fit import find_early_misfits
from oarlock_api.resolve import Defaults, ReadyDataset, resolve
from oarlock_api.run import Run
from oarlock_api.v1alpha1.dataset import Task
from oarlock_api.v1alpha1.status import DatasetPhase, JobPhase
from oarlock_api.v1alpha1.training_job import TrainingJobSpec
from oarlock_api.v1alpha1.volumes import AccessMode
from oarlock_operator import names
from oarlock_operator.manifests.sizes import find_oversized_run
from oarlock_operator.policy.claims import is_leaving
from oarlock_operator.reconcile.checking import check_model
from oarlock_operator.reconcile.earlier_runs import find_attempt
from oarlock_operator.reconcile.inheriting import describe_earlier_job, wait_for_earlier_job
from oarlock_operator.reconcile.job_view import JobView, view_job
from oarlock_operator.reconcile.observed import ObservedDataset
from oarlock_operator.reconcile.permitted import find_refused_parts
from oarlock_operator.reconcile.steps import JobStep

_COMING = frozenset({DatasetPhase.PENDING, DatasetPhase.IMPORTING, DatasetPhase.FAILED})
"""Phases of Datasets whose spec was found good, and whose data is not there yet."""


def accept(job: JobView) -> tuple[JobView, JobStep | None]:
    """Freeze the run of a job that can start.

    Returns:
        The job with its run and no step; or the job as it is, and the step that says what it waits for.
    """
    if job.spec is None:
        return job, refuse(job.findings)
    if refused := tuple(find_refused_parts(job.spec, settings=job.settings)):
        return job, refuse(refused)
    if job.policy.suspend:
        return job, _hold_unstarted(job)
    dataset = job.observed.dataset if job.spec.dataset else None
    if wait := _await_data(job.spec, dataset) or wait_for_earlier_job(job):
        return job, wait
    try:
        run = _freeze(job, job.spec, dataset)
    except InvalidError as error:
        return job, refuse(error.findings)
    step = check_model(job, run)
    return (job if step else _adopt(job, run)), step


def _adopt(job: JobView, run: Run) -> JobView:
    status = job.status.model_copy(update={"run": run.to_wire(), "attempt": find_attempt(job, run)})
    return view_job(replace(job.observed, status=status), now=job.now, settings=job.settings)


def refuse(findings: tuple[Finding, ...]) -> JobStep:
    """Say everything that is wrong; nothing is created for an invalid job."""
    return JobStep(
        phase=JobPhase.INVALID, reason="InvalidSpec", message=describe_findings(findings), findings=tuple(findings)
    )


def _hold_unstarted(job: JobView) -> JobStep:
    how = "Run it again" if job.settings.is_local else "Set spec.runPolicy.suspend to false"
    return JobStep(
        phase=JobPhase.SUSPENDED,
        reason="Suspended",
        message=f"suspended before it started. {how} to start it",
        # There are none, unless the status was lost.
        delete=tuple(pod for pod in (*job.all_pods, *job.checks) if not pod.deleting),
    )


def _await_data(spec: TrainingJobSpec, dataset: ObservedDataset | None) -> JobStep | None:
    """Wait for the data, unless its task alone rules out the job: of data that is there, more can be said at once."""
    if spec.dataset is None:
        return None
    if dataset is not None and not dataset.object.deleting and dataset.status.phase in _COMING:
        try:
            misfits = tuple(find_early_misfits(spec, dataset=dataset.object.name, task=_read_task(dataset)))
        except InvalidError as error:
            misfits = error.findings
        if misfits:
            return refuse(misfits)
    return _wait_for_data(spec.dataset.name, dataset)


def _wait_for_data(name: str, dataset: ObservedDataset | None) -> JobStep | None:
    if dataset is None:
        return _wait(
            "DatasetMissing", f"there is no Dataset {name} in this namespace. Apply it, or correct dataset.name"
        )
    if dataset.object.deleting:
        return _wait("DatasetTerminating", f"Dataset {name} is being deleted. Apply it again once it is gone")
    status = dataset.status
    if status.phase is DatasetPhase.READY and status.version:
        return None
    phase = status.phase or DatasetPhase.PENDING
    said = f": {status.message}" if status.message else ""
    return _wait(f"Dataset{phase}", f"Dataset {name} is {phase}{said}")


def _wait(reason: str, message: str) -> JobStep:
    return JobStep(phase=JobPhase.WAITING_FOR_DATA, reason=reason, message=message)


def _freeze(job: JobView, spec: TrainingJobSpec, dataset: ObservedDataset | None) -> Run:
    settings = job.settings
    run = resolve(
        spec,
        name=job.owner.name,
        generation=job.observed.object.generation,
        dataset=_describe(dataset) if dataset else None,
        defaults=Defaults(
            image=settings.trainer_image,
            gpus_per_node=settings.default_gpus_per_node,
            storage_class=settings.default_storage_class,
            status_port=settings.status_port,
            pod_user=settings.pod_user,
        ),
        earlier=describe_earlier_job(job.observed.earlier),
        checkpoint_claim=names.checkpoint_claim_name(job.owner.name),
        claim_access_modes=_read_access_modes(job),
    )
    findings = [*find_oversized_run(run), *_find_unshared_claim(job, run)]
    if findings:
        raise InvalidError(findings)
    return run


def _describe(dataset: ObservedDataset) -> ReadyDataset:
    return ReadyDataset(
        name=dataset.object.name, uid=dataset.object.uid, task=_read_task(dataset), status=dataset.status
    )


def _read_access_modes(job: JobView) -> dict[str, Sequence[str]]:
    """Return the access modes of the claims that are there to stay."""
    own = names.checkpoint_claim_name(job.owner.name)
    return {
        name: claim.access_modes
        for name, claim in job.observed.claims.items()
        if name != own or not is_leaving(claim, owner=job.owner)
    }


def _read_task(dataset: ObservedDataset) -> Task:
    written = dataset.object.spec.get("task") or Task.IMAGE_CLASSIFICATION
    try:
        return Task(written)
    except ValueError:
        finding = Finding(
            path="spec.dataset.name",
            rule="must name a Dataset with a known task",
            found=repr(written),
            remedy="correct the Dataset's spec.task",
        )
        raise InvalidError([finding]) from None


def _find_unshared_claim(job: JobView, run: Run) -> Iterator[Finding]:
    """Find a claim that an earlier job of this name left behind, made for one node."""
    claim = job.observed.claims.get(run.checkpoints.claim)
    if (
        claim is None
        or not run.checkpoints.created
        or run.workers.most_nodes == 1
        or is_leaving(claim, owner=job.owner)
    ):
        return
    if claim.access_modes and AccessMode.READ_WRITE_MANY not in claim.access_modes:
        yield Finding(
            path="spec.workers.nodes",
            rule=f"must be 1 with claim {claim.name}, which an earlier job of this name left",
            found=f"{run.workers.most_nodes}, and a claim with {', '.join(claim.access_modes)}",
            remedy="rename the job, or delete the claim if its checkpoints are not needed",
        )
