"""A TrainingJob as planning sees it: what is observed, told apart by attempt and owner. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pydantic

from oarlock_api.contract import WorkerStatus
from oarlock_api.findings import Finding
from oarlock_api.resolve import first_spec_change
from oarlock_api.run import Run
from oarlock_api.v1alpha1.status import FINISHED_JOB_PHASES, JobPhase, TrainingJobStatus
from oarlock_api.v1alpha1.training_job import Elastic, RunPolicy, TrainingJobSpec
from oarlock_api.validation import recall_training_job
from oarlock_operator import names
from oarlock_operator.manifests.metadata import Owner
from oarlock_operator.manifests.pod_groups import GroupScheduler, find_group_scheduler
from oarlock_operator.policy.clocks import Skew, correct_pod, find_skews
from oarlock_operator.policy.elastic import clamp_nodes
from oarlock_operator.policy.exclusion import find_avoided
from oarlock_operator.policy.phases import PREPARING
from oarlock_operator.policy.times import parse_time
from oarlock_operator.reconcile.observed import ObservedClaim, ObservedJob, ObservedPod, ObservedPodGroup, WorkerReport
from oarlock_operator.settings import Settings

_RAN = frozenset({JobPhase.RENDEZVOUS, JobPhase.TRAINING})


@dataclass(frozen=True, kw_only=True, slots=True)
class JobView:
    """What the planning of one job reasons about."""

    observed: ObservedJob
    now: float
    settings: Settings
    owner: Owner
    spec: TrainingJobSpec | None
    """The spec as it is now; None if it is invalid."""
    findings: tuple[Finding, ...]
    """What is wrong with the spec."""
    change: Finding | None
    """The first difference from what was accepted."""
    policy: RunPolicy
    """How to treat the run: this part of the spec may change at any time."""
    run: Run | None
    """What was accepted; None: nothing yet, or `is_unreadable`."""
    is_unreadable: bool
    """Whether there is a frozen run that this operator cannot read: one that somebody edited, or of a much newer operator."""
    pods: Mapping[int, ObservedPod]
    """Pods of the attempt, by rank."""
    old_pods: tuple[ObservedPod, ...]
    """Pods of the job that are not of the attempt."""
    scouts: tuple[ObservedPod, ...]
    """Pods of the attempt that only look for room for more nodes."""
    checks: tuple[ObservedPod, ...]
    """Pods that only find out whether the model fits, of any state of the spec."""
    strangers: Mapping[str, ObservedPod]
    """Pods of others that hold a name of ours."""
    skews: Mapping[str, Skew]
    """What is known of the clocks of the attempt's nodes. The times of pods and reports are put right already."""

    @property
    def status(self) -> TrainingJobStatus:
        return self.observed.status

    @property
    def is_finished(self) -> bool:
        return self.status.phase in FINISHED_JOB_PHASES

    @property
    def nodes(self) -> int:
        """How many pods the attempt has."""
        return count_nodes(self.status, self.run)

    @property
    def most_nodes(self) -> int:
        """How many pods an attempt may have at most."""
        return max(self.nodes, self.run.workers.most_nodes) if self.run else 0

    @property
    def elastic(self) -> Elastic | None:
        """Bounds between which the number of nodes may change, as they were accepted; None: it is fixed."""
        return self.run.workers.elastic if self.run else None

    @property
    def wanted(self) -> int:
        """How many nodes the job should have; more than it has while there is no room for them."""
        if self.elastic is None:
            return self.nodes
        return clamp_nodes(self.spec.workers.nodes if self.spec else self._wanted_before, self.elastic)

    @property
    def is_asked_to_resize(self) -> bool:
        """Whether another number of nodes is wanted than when the attempt got its number."""
        return self.wanted != self._wanted_before

    @property
    def _wanted_before(self) -> int:
        return self.status.gang.wanted if self.status.gang else self.nodes

    @property
    def excluded(self) -> tuple[str, ...]:
        """Nodes that pods which are created now avoid."""
        return find_avoided(self.status.excluded_nodes, at=self.now)

    @property
    def all_pods(self) -> tuple[ObservedPod, ...]:
        """Pods of the job, of all attempts; not those that only check its model."""
        return (*self.pods.values(), *self.scouts, *self.old_pods)

    @property
    def missing(self) -> dict[int, str]:
        """Names of the attempt's pods that are not there, by rank."""
        return {rank: self.pod_name(rank) for rank in range(self.nodes) if rank not in self.pods}

    @property
    def up(self) -> int:
        """Pods of the attempt that run, or have ended well while others still run."""
        return sum(1 for pod in self.pods.values() if pod.phase in ("Running", "Succeeded"))

    @property
    def were_all_running(self) -> bool:
        """Whether the pods of the attempt once ran all together: from then on, a pod that is missing was taken away.

        A pod that has ended well met all the others, whatever an old cache has made the status say since.
        """
        ended_well = any(pod.phase == "Succeeded" for pod in self.pods.values())
        return self.nodes > 0 and (self.status.nodes >= self.nodes or ended_well)

    @property
    def pod_group_name(self) -> str:
        return names.pod_group_name(self.owner.name, self.owner.uid, attempt=self.status.attempt)

    @property
    def pod_group(self) -> ObservedPodGroup | None:
        """The PodGroup of the attempt, or whatever of somebody else's holds its name; None: neither is known of."""
        groups = self.observed.pod_groups or ()
        return next((group for group in groups if group.name == self.pod_group_name), None)

    @property
    def group_scheduler(self) -> GroupScheduler | None:
        """Who places the pods of the attempt as one group; None: each is placed alone, as all are of an attempt that began so."""
        scheduler = find_group_scheduler(self.settings)
        return scheduler if all(pod.pod_group == self.pod_group_name for pod in self.pods.values()) else None

    @property
    def is_handed_over(self) -> bool:
        """Whether another queue or scheduler takes the gang as a whole, which cannot be asked for room for one more."""
        return self.policy.queue is not None or find_group_scheduler(self.settings) is not None

    @property
    def claim(self) -> ObservedClaim | None:
        """The claim for the checkpoints, if it is there."""
        return self.observed.claims.get(self.run.checkpoints.claim) if self.run else None

    @property
    def may_have_checkpoints(self) -> bool:
        """Whether a pod of this run may have written to the claim: then an empty one must not take its place unsaid."""
        status = self.status
        saved = status.checkpoint is not None and status.checkpoint.latest is not None
        ran = status.nodes > 0 or status.phase in _RAN or any(phase in status.phases for phase in _RAN)
        return saved or ran or self.up > 0 or any(failure.pod for failure in status.failures)

    @property
    def report(self) -> WorkerStatus | None:
        """What rank 0 said last, if it is of this attempt."""
        status = self.observed.report.status if self.observed.report else None
        return status if status is not None and status.attempt == self.status.attempt else None

    @property
    def reports(self) -> dict[int, WorkerReport]:
        """The last answers of the agents that are asked, by node rank, as far as they are of this attempt."""
        return _find_reports(self.observed)

    @property
    def gathered_since(self) -> float:
        """Since when all pods of the attempt have run, as far as the status has said so: seconds since 1970."""
        since = parse_time(self.status.phase_since) if self.status.phase is JobPhase.RENDEZVOUS else None
        return self.now if since is None else since

    @property
    def has_trained(self) -> bool:
        """Whether the attempt has made its first step, as far as known."""
        # An agent that started torchrun again in its pod prepares a second time.
        return self.report is not None and (self.report.phase not in PREPARING or self.report.retries > 0)

    @property
    def lost_nodes(self) -> frozenset[str]:
        """Nodes whose pods count as lost. The node of rank 0 does not while rank 0 answers: only its kubelet is away."""
        report, first = self.observed.report, self.pods.get(0)
        answers = report is not None and report.status is not None and report.failing_since is None
        return self.observed.lost_nodes - ({first.node} if first and answers else frozenset())

    def pod_name(self, rank: int, *, attempt: int | None = None) -> str:
        number = self.status.attempt if attempt is None else attempt
        return names.worker_pod_name(self.owner.name, self.owner.uid, attempt=number, rank=rank)


def view_job(observed: ObservedJob, *, now: float, settings: Settings) -> JobView:
    """Sort what is observed of a job."""
    checked = recall_training_job(observed.object.spec, name=observed.object.name)
    run = read_run(observed.status)
    ours = [pod for pod in observed.pods if pod.owner_uid == observed.object.uid]
    own = [pod for pod in ours if pod.role != names.CHECK_ROLE]
    placed = [pod for pod in own if pod.scheduled and _is_current(pod, observed.status, run)]
    skews = find_skews(placed, _find_reports(observed), now=now)
    own = [correct_pod(pod, skews, now=now) for pod in own]
    gang = [pod for pod in own if _is_current(pod, observed.status, run)]
    nodes = count_nodes(observed.status, run)
    current = {pod.rank: pod for pod in gang if 0 <= pod.rank < nodes}
    scouts = tuple(pod for pod in gang if pod.rank >= nodes)
    return JobView(
        observed=observed,
        now=now,
        settings=settings,
        owner=Owner(
            kind="TrainingJob",
            name=observed.object.name,
            namespace=observed.object.namespace,
            uid=observed.object.uid,
        ),
        spec=checked.model,
        findings=checked.findings,
        change=first_spec_change(run, checked.model) if run and checked.model else None,
        policy=checked.model.run_policy if checked.model else read_run_policy(observed.object.spec),
        run=run,
        is_unreadable=run is None and observed.status.run is not None,
        pods=current,
        old_pods=tuple(pod for pod in own if current.get(pod.rank) is not pod and pod not in scouts),
        scouts=scouts,
        checks=tuple(pod for pod in ours if pod.role == names.CHECK_ROLE),
        strangers={pod.name: pod for pod in observed.pods if pod.owner_uid != observed.object.uid},
        skews=skews,
    )


def _find_reports(observed: ObservedJob) -> dict[int, WorkerReport]:
    first = {0: observed.report} if observed.report else {}
    return {
        rank: report
        for rank, report in {**first, **observed.peers}.items()
        if report.status is None or report.status.attempt == observed.status.attempt
    }


def read_run(status: TrainingJobStatus) -> Run | None:
    """Return the frozen run, if there is one that can be read."""
    if status.run is None:
        return None
    try:
        return Run.from_wire(status.run)
    except pydantic.ValidationError:
        return None


def count_nodes(status: TrainingJobStatus, run: Run | None) -> int:
    """Return how many nodes the attempt has: as the run was accepted, until a later attempt got another number."""
    if run is None:
        return 0
    return status.gang.nodes if status.gang and run.workers.elastic else run.workers.nodes


def read_run_policy(spec: Mapping[str, Any]) -> RunPolicy:
    """Return the run policy of a spec that is invalid elsewhere: suspending must work nevertheless."""
    try:
        return RunPolicy.from_wire(spec.get("runPolicy") or {})
    except pydantic.ValidationError:
        return RunPolicy()


def _is_current(pod: ObservedPod, status: TrainingJobStatus, run: Run | None) -> bool:
    return run is not None and pod.attempt == status.attempt and pod.run_hash == run.hash
