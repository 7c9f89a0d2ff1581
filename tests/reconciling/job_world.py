"""A cluster with one TrainingJob, in memory: it applies plans as a server would, and lets caches lie and operators die.

It checks what must hold at every moment, so that a test only has to make things happen.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from reconciling.job_states import (
    JOB_UID,
    NOW,
    SETTINGS,
    make_checkpoint,
    make_claim,
    make_dataset,
    make_earlier,
    make_failure,
    make_object,
    make_record,
    make_report,
    make_spec,
    run_pod,
)

from oarlock_api.contract import Cause, Outcome, TerminationRecord
from oarlock_api.v1alpha1.status import FINISHED_JOB_PHASES, Goodput, JobPhase, TrainingJobStatus
from oarlock_operator import names, observing
from oarlock_operator.policy.abandoned import is_abandoned
from oarlock_operator.policy.times import parse_time
from oarlock_operator.reconcile.observed import (
    ObservedClaim,
    ObservedEarlierJob,
    ObservedJob,
    ObservedPod,
    ObservedService,
    WorkerReport,
)
from oarlock_operator.reconcile.plans import Plan
from oarlock_operator.reconcile.training_job import plan_job

TERMINAL = ("Succeeded", "Failed")
REMEMBERED = 30
WEIGHTS = "weights"
"""The claim of an earlier job."""


class OperatorKilledError(Exception):
    """The operator died in the middle of applying a plan."""


@dataclass
class JobWorld:
    """What is really there, and what operators believe."""

    nodes: int = 2
    now: float = NOW
    status: TrainingJobStatus = field(default_factory=TrainingJobStatus)
    version: int = 1
    generation: int = 1
    suspend: bool = False
    policy: dict[str, Any] = field(default_factory=dict)
    is_deleted: bool = False
    pods: dict[str, ObservedPod] = field(default_factory=dict)
    claims: dict[str, ObservedClaim] = field(default_factory=dict)
    service: ObservedService | None = None
    lost_nodes: frozenset[str] = frozenset()
    checkpoint_step: int = 0
    begins_with_weights: bool = False
    """Whether the job is to begin with those of an earlier one."""
    earlier: ObservedEarlierJob | None = None
    mounting: set[str] = field(default_factory=set)
    """UIDs of pods that mount the earlier job's claim: names are used again."""
    created: int = 0
    seen: deque[ObservedJob] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def build_spec(self) -> dict[str, Any]:
        return make_spec(
            nodes=self.nodes, run_policy={"suspend": self.suspend, **self.policy}, model=self.build_model()
        )

    def build_model(self) -> dict[str, Any]:
        return {"name": "lenet", **({"initFrom": {"job": "base"}} if self.begins_with_weights else {})}

    def observe(self) -> ObservedJob:
        spec = self.build_spec()
        looked_at = observing.find_claims({"spec": spec, "status": self.status.to_wire()})
        unseen = {WEIGHTS} - looked_at if self.status.run else set()
        job = ObservedJob(
            object=make_object(spec, generation=self.generation, resource_version=str(self.version)),
            status=self.status,
            pods=tuple(self.pods.values()),
            service=self.service,
            dataset=make_dataset(),
            earlier=None if self.status.run else self.earlier,
            claims={name: claim for name, claim in self.claims.items() if name not in unseen},
            report=self._report(),
            lost_nodes=self.lost_nodes,
        )
        if not self.seen or job != self.seen[-1]:
            self.seen.append(job)
        return job

    def _report(self) -> WorkerReport | None:
        first = self.find_pod(0)
        if first is None or first.phase != "Running":
            return None
        checkpoint = make_checkpoint(self.checkpoint_step, time=self.now) if self.checkpoint_step else None
        return make_report(attempt=self.status.attempt, step=self.checkpoint_step, checkpoint_latest=checkpoint)

    def find_pod(self, rank: int) -> ObservedPod | None:
        return self.pods.get(names.worker_pod_name("lenet", JOB_UID, attempt=self.status.attempt, rank=rank))

    def reconcile(self, observed: ObservedJob, *, survives: int = 1000) -> Plan:
        """Plan and apply from an observation, be it true or not; the operator dies after `survives` writes.

        Raises:
            OperatorKilledError.
        """
        if self.is_deleted:
            return (
                Plan()
            )  # Whatever an operator still believes: there is no object to write to, and no UID to own a pod.
        plan = plan_job(observed, now=self.now, settings=SETTINGS)
        if plan.confirm:
            believed = observed.object.resource_version
            observed = self._confirm(observed, plan)
            if observed.object.resource_version != believed:
                return plan  # What was asked for was asked of an old state: the next observation plans anew.
            plan = plan_job(observed, now=self.now, settings=SETTINGS)
            assert not plan.confirm, "what was confirmed is asked again"
        self._apply(plan, observed, budget=survives)
        return plan

    def _confirm(self, believed: ObservedJob, plan: Plan) -> ObservedJob:
        """Replace what was asked for, and nothing else, by the truth."""
        truth = self.observe()
        asked = {reference.name for reference in plan.confirm if reference.kind == "Pod"}
        kept = [pod for pod in believed.pods if pod.name not in asked]
        found = [pod for pod in truth.pods if pod.name in asked]
        is_job_read = any(reference.kind == "TrainingJob" for reference in plan.confirm)
        job = {"object": truth.object, "status": truth.status} if is_job_read else {}
        return replace(believed, **job, pods=(*kept, *found), confirmed=True)  # type: ignore[arg-type]

    def _apply(self, plan: Plan, observed: ObservedJob, *, budget: int) -> None:
        assert observed.confirmed or not plan.delete, "deleted on the word of a cache"
        if plan.status is not None:
            if observed.object.resource_version != str(self.version):
                return  # 409: the next observation plans anew
            self._write(plan.status)
            budget = self._spend(budget)
        for deletion in plan.delete:
            self._delete_job(is_meant=deletion.reference.kind == "TrainingJob")
            pod = self.pods.get(deletion.reference.name)
            if pod and pod.uid == deletion.uid:
                self._ask_to_end(pod)
            budget = self._spend(budget)
        for manifest in plan.create:
            before = self.created
            self._create(manifest)
            waits = self.created > before and f"uid-{self.created}" in self.mounting and WEIGHTS not in observed.claims
            assert not waits, "a pod would wait for a claim that is known not to be there"
            budget = self._spend(budget)

    def _delete_job(self, *, is_meant: bool) -> None:
        if is_meant:
            assert self.status.phase in FINISHED_JOB_PHASES, "an unfinished job was deleted"
            assert "ttlSecondsAfterFinished" in self.policy, "a job was deleted that nobody wanted to go"
            self.is_deleted = True
            self.pods.clear()  # as the garbage collector does

    def _spend(self, budget: int) -> int:
        if budget <= 1:
            raise OperatorKilledError
        return budget - 1

    def _write(self, status: Any) -> None:
        after = TrainingJobStatus.from_wire(status.to_wire())
        before = self.status
        for counter in ("attempt", "restart_count", "counted_restarts"):
            assert getattr(after, counter) >= getattr(before, counter), f"{counter} went back"
        assert sum(after.restarts.values()) == after.restart_count
        if after.restart_count > before.restart_count:
            assert after.attempt > before.attempt, "a restart was counted without a new attempt"
        assert before.run in (None, after.run), "the frozen run changed"
        assert before.phase not in FINISHED_JOB_PHASES or after.phase is before.phase, "a finished job went on"
        rests = after.phase is JobPhase.SUSPENDED and after.reason == "Suspended"
        assert not rests or not self.waited_for(), "suspension was claimed while there are pods"
        self._check_goodput(after)
        self.status, self.version = after, self.version + 1

    def _check_goodput(self, after: TrainingJobStatus) -> None:
        """Check that every second since the creation is counted once, whoever died or believed what meanwhile."""
        before, now = self.status.goodput or Goodput(), after.goodput or Goodput()
        assert now.training_seconds >= before.training_seconds, "safe training was taken back"
        assert now.lost_seconds >= before.lost_seconds, "a loss was taken back"
        counted = now.training_seconds + now.unsaved_seconds + now.lost_seconds
        is_counting = after.phase not in FINISHED_JOB_PHASES
        assert not is_counting or abs(counted - (parse_time(now.counted_until) or 0) + NOW - 100) < 1, "time was lost"

    def _ask_to_end(self, pod: ObservedPod) -> None:
        self.pods[pod.name] = replace(pod, deleting=True, delete_by=self.now + 135)

    def _create(self, manifest: dict[str, Any]) -> None:
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        if kind == "PersistentVolumeClaim":
            labels = manifest["metadata"]["labels"]
            modes = tuple(manifest["spec"]["accessModes"])
            claim = ObservedClaim(name=name, uid=name, phase="Bound", access_modes=modes, labels=labels)
            self.claims.setdefault(name, claim)
        elif kind == "Service":
            self.service = self.service or ObservedService(name=name, uid=name, owner_uid=JOB_UID)
        elif name not in self.pods:
            self._create_pod(manifest)

    def _create_pod(self, manifest: dict[str, Any]) -> None:
        labels, name = manifest["metadata"]["labels"], manifest["metadata"]["name"]
        attempt = int(labels[names.ATTEMPT_LABEL])
        assert self.status.phase not in FINISHED_JOB_PHASES, "a finished job created a pod"
        assert attempt == self.status.attempt, "a pod of another attempt was created"
        older = [pod for pod in self.waited_for() if pod.attempt != attempt]
        assert not older, f"attempt {attempt} began while {older[0].name} was there"
        self.created += 1
        self._note_mounts(manifest)
        self.pods[name] = ObservedPod(
            name=name,
            uid=f"uid-{self.created}",
            owner_uid=JOB_UID,
            attempt=attempt,
            rank=int(labels[names.RANK_LABEL]),
            run_hash=manifest["metadata"]["annotations"][names.RUN_HASH_ANNOTATION],
            phase="Pending",
            created=self.now,
        )

    def _note_mounts(self, manifest: dict[str, Any]) -> None:
        """Check that a pod has something to begin with, and nothing that it does without."""
        volumes = manifest["spec"]["volumes"]
        mounts = any(each.get("persistentVolumeClaim") == {"claimName": WEIGHTS} for each in volumes)
        saved = self.status.checkpoint is not None and self.status.checkpoint.latest is not None
        failures = self.status.failures
        is_in_doubt = bool(failures) and failures[-1].cause == Cause.STORAGE_FAILED
        assert mounts or self.checkpoint_step or not self.begins_with_weights, "a pod would begin with nothing"
        assert not mounts or is_in_doubt or not saved, "a pod waits for what it does without"
        if mounts:
            self.mounting.add(f"uid-{self.created}")

    def check(self) -> None:
        """Check what holds between any two events."""
        live = {pod.attempt for pod in self.pods.values() if pod.phase not in TERMINAL and not pod.deleting}
        assert len(live - self._attempts_on_lost_nodes()) <= 1, f"pods of attempts {live} live side by side"

    def waited_for(self) -> list[ObservedPod]:
        """Return the pods whose end is worth waiting for: those of lost nodes, or long overdue, are the fence's to hold off."""
        pods = self.pods.values()
        return [pod for pod in pods if not is_abandoned(pod, lost_nodes=self.lost_nodes, now=self.now)]

    def _attempts_on_lost_nodes(self) -> set[int]:
        return {pod.attempt for pod in self.pods.values() if pod.node in self.lost_nodes}

    # What kubelets, trainers and users do.

    def run_pods(self) -> None:
        for pod in self.pods.values():
            if pod.phase == "Pending" and not pod.deleting and self.has_volumes(pod):
                self.pods[pod.name] = run_pod(pod, started=self.now, scheduled_at=self.now)

    def has_volumes(self, pod: ObservedPod) -> bool:
        return pod.uid not in self.mounting or WEIGHTS in self.claims

    def end_deleted(self) -> None:
        gone = [pod.name for pod in self.pods.values() if pod.deleting and pod.node not in self.lost_nodes]
        for name in gone:
            del self.pods[name]

    def end_pod(self, name: str, *, record: TerminationRecord) -> None:
        phase = "Succeeded" if record.outcome == Outcome.SUCCEEDED else "Failed"
        exit_code = 0 if phase == "Succeeded" else 1
        pod = self.pods[name]
        self.pods[name] = replace(pod, phase=phase, exit_code=exit_code, finished=self.now, termination=record)

    def fail_pod(self, name: str, cause: str) -> None:
        self.end_pod(name, record=make_failure(cause))

    def succeed_pods(self) -> None:
        for pod in list(self.pods.values()):
            if pod.phase == "Running" and self.is_worker(pod) and not pod.deleting:
                self.end_pod(pod.name, record=make_record(attempt=pod.attempt, node=pod.rank))

    def is_worker(self, pod: ObservedPod) -> bool:
        return pod.attempt == self.status.attempt

    def running(self) -> Sequence[str]:
        return sorted(name for name, pod in self.pods.items() if pod.phase == "Running")

    def set_suspended(self, *, suspend: bool) -> None:
        self.suspend, self.generation, self.version = suspend, self.generation + 1, self.version + 1

    def set_policy(self, policy: dict[str, Any]) -> None:
        self.policy, self.generation, self.version = policy, self.generation + 1, self.version + 1

    def finish_earlier(self, phase: JobPhase = JobPhase.SUCCEEDED) -> None:
        """Have an earlier job whose weights the job is to begin with."""
        self.begins_with_weights, self.earlier = True, make_earlier(phase)
        self.claims[WEIGHTS] = make_claim(WEIGHTS, access_modes=("ReadWriteMany",), labels={})

    def remove_earlier(self) -> None:
        self.earlier = None
        self.claims.pop(WEIGHTS, None)

    def _restore_needed(self) -> None:
        """Bring back what the status, or a pod without a node, asks for."""
        waiting = [pod for pod in self.pods.values() if pod.phase == "Pending" and pod.uid in self.mounting]
        saved = self.status.checkpoint is not None and self.status.checkpoint.latest is not None
        if self.begins_with_weights and (waiting or not saved):
            self.finish_earlier()

    def begin(self) -> None:
        """Go on without faults until the job trains."""
        for _ in range(6):
            self.run_pods()
            self.reconcile(self.observe())

    def settle(self) -> JobPhase | None:
        """Let everything go its way without faults, until nothing changes; return the phase in which the job rests."""
        self.lost_nodes = frozenset()
        for _ in range(60):
            self._restore_needed()
            self.run_pods()
            self.end_deleted()
            if self.status.phase is JobPhase.TRAINING:
                self.succeed_pods()
            before = (self.version, tuple(self.pods.values()))
            plan = self.reconcile(self.observe())
            self.check()
            if (self.version, tuple(self.pods.values())) == before and plan.wake_at is None:
                break
            self.now = max(self.now + 1, plan.wake_at or 0)
        return self.status.phase
