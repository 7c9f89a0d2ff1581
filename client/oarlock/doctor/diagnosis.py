"""From the evidence to a verdict. It says what the operator says, and looks at the pods with the operator's own eyes. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from oarlock.doctor.evidence import Evidence, Object, Verdict
from oarlock_operator import names, observing
from oarlock_operator.complaints import Complaints
from oarlock_operator.policy.rooms import count_use, measure_rooms
from oarlock_operator.policy.times import parse_time
from oarlock_operator.policy.wait import Surroundings
from oarlock_operator.policy.waiting import explain_wait
from oarlock_operator.reconcile.observed import ObservedClaim, ObservedPod, Room

PATIENCE_SECONDS = 120.0
"""Seconds for which a job may start, or wait for its data, without anything being wrong."""
_UNSEEN_SECONDS = 30.0
_EXPECTED = frozenset(
    {"Scheduling", "Creating", "TrainerStarting", "Joining", "OldPodsEnding", "Starting", "Loading", "Compiling",
     "Tuning", "DatasetPending", "DatasetImporting", "Admitted"}
)  # fmt: skip
"""Reasons that every job has for a while."""
_WELL = frozenset({"Training", "Succeeded", "Suspended", "Queued"})
_NEVER = frozenset({"NoSuchNodes", "KueueMissing", "PodGroupsMissing", "SchedulerSilent"})
"""Reasons for which a job would wait in the queue for ever."""
_VAGUE = frozenset({"ContainerCreating", "PodInitializing"})
_PROMISES = frozenset({"Valid", "ProgressKnown", "ClaimsUsable", "ServicePresent", "NodeClocksRight"})
"""Conditions that mean trouble when they do not hold, whatever the phase."""


def diagnose(evidence: Evidence) -> Verdict:
    """Return what is wrong with a job, if anything is."""
    status = evidence.status
    phase, reason, message = (str(status.get(key) or "") for key in ("phase", "reason", "message"))
    hazards = tuple(_find_hazards(status))
    title = f"TrainingJob {evidence.name}"
    if not phase:
        return Verdict(is_healthy=False, headline=f"{title} {_explain_unseen(evidence)}", hazards=hazards)
    if evidence.is_deserted:
        said = f"is interrupted in phase {phase}: nobody works on it. Run it again to go on"
        return Verdict(is_healthy=False, headline=f"{title} {said}", hazards=hazards)
    if evidence.is_local and phase == "Suspended":
        latest = (status.get("checkpoint") or {}).get("latest")
        safe = f": step {latest['step']:,} is safe" if latest else ""
        return Verdict(is_healthy=True, headline=f"{title} is Suspended{safe}. Run it again to go on", hazards=hazards)
    seen = _look_now(evidence) if phase == "Starting" else ""
    is_patient = reason in _EXPECTED and _age(evidence) < PATIENCE_SECONDS
    is_healthy = (phase in _WELL or is_patient) and not hazards and reason not in {"Stalled", *_NEVER}
    why = f" ({reason})" if reason and reason != phase else ""
    said = f": {message}" if message else ""
    if hazards and phase in _WELL:
        said = f": {hazards[0]}"
    return Verdict(
        is_healthy=is_healthy,
        headline=f"{title} is {phase}{why}{said}",
        seen_now="" if seen and seen in message else seen,
        hazards=hazards,
    )


def _explain_unseen(evidence: Evidence) -> str:
    if evidence.is_local:
        return "has not been looked at. Run it again to go on"
    return (
        "has not been looked at by an operator. Check that it runs and serves this namespace:"
        " kubectl get pods --all-namespaces -l app.kubernetes.io/name=oarlock"
    )


def _age(evidence: Evidence) -> float:
    since = parse_time(evidence.status.get("phaseSince"))
    return 0.0 if since is None else evidence.now - since


def _find_hazards(status: Mapping[str, Any]) -> list[str]:
    if status.get("phase") in ("Succeeded", "Failed", "Invalid"):
        return []  # The phase has said it.
    conditions = status.get("conditions") or ()
    return [
        str(each.get("message") or each["reason"])
        for each in conditions
        if each["type"] in _PROMISES and each["status"] == "False"
    ]


def observe_pods(evidence: Evidence) -> list[ObservedPod]:
    """Return the job's pods as the operator sees them, with what Events say of them."""
    complaints = _collect_complaints(evidence)
    seen = [observing.observe_pod(raw).pod for raw in evidence.pods]
    return [replace(pod, warning=complaints.of(pod.uid)) if pod.phase == "Pending" else pod for pod in seen]


def observe_claims(evidence: Evidence) -> dict[str, ObservedClaim]:
    """Return the job's claims as the operator sees them, with what Events say of them."""
    complaints = _collect_complaints(evidence)
    claims = (observing.observe_claim(raw) for raw in evidence.claims)
    return {
        claim.name: claim if claim.phase == "Bound" else replace(claim, message=complaints.of(claim.uid))
        for claim in claims
    }


def _collect_complaints(evidence: Evidence) -> Complaints:
    complaints = Complaints()
    for event in evidence.events:
        if event.get("type") == "Warning":
            complaints.note(observing.observe_warning(event), is_known=True)
    return complaints


def _look_now(evidence: Evidence) -> str:
    """Return what holds up the pods at this moment."""
    attempt = str(evidence.status.get("attempt", 0))
    current = [
        raw for raw in evidence.pods if (raw["metadata"].get("labels") or {}).get(names.ATTEMPT_LABEL) == attempt
    ]
    if not current:
        return ""
    around = Surroundings(
        claims=observe_claims(evidence), pod_spec=current[0].get("spec") or {}, rooms=_measure(evidence)
    )
    wait = explain_wait(observe_pods(replace(evidence, pods=tuple(current))), around)
    return wait.message if wait and wait.reason not in _EXPECTED else ""


def _measure(evidence: Evidence) -> tuple[Room, ...]:
    if evidence.nodes is None:
        return ()
    used = None if evidence.others is None else count_use(evidence.others)
    return measure_rooms([observing.observe_node(raw) for raw in evidence.nodes], used)


def explain_pod(pod: ObservedPod) -> str:
    """Return in short why a pod does not run, or how it ended."""
    if pod.phase == "Pending":
        waits = "is being created" if pod.scheduled else "waits for the scheduler"
        telling = pod.waiting_reason if pod.waiting_reason not in _VAGUE else ""
        return telling or pod.warning or pod.unschedulable or pod.waiting_reason or waits
    if pod.deleting:
        return "is ending"
    if pod.phase == "Failed":
        how = f"exit code {pod.exit_code}" if pod.exit_code is not None else ""
        return ", ".join(part for part in (pod.pod_reason, pod.container_reason, how) if part)
    return ""


def sort_pods(evidence: Evidence) -> list[Object]:
    """Return the pods, the newest attempt first, by rank."""

    def place(raw: Object) -> tuple[int, int]:
        seen = observing.observe_pod(raw).pod
        return -seen.attempt, seen.rank

    return sorted(evidence.pods, key=place)
