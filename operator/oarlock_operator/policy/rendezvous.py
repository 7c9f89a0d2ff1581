"""Who is missing at the rendezvous, and the likely cause: from what the agent of each node sees of it. Pure.

A node that cannot find node 0 says whether the name, the network or the port is the trouble; one whose agent does not answer while
others do is cut off or overloaded; one whose pod ended is named elsewhere, as a failure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from oarlock_api.contract import JoinState, WorkerStatus
from oarlock_operator.policy.phases import JOINING
from oarlock_operator.reconcile.observed import ObservedPod, WorkerReport

_GRACE_SECONDS = 15.0
"""Seconds, once all pods run, in which names, ports and torchrun come up, as they do in every attempt."""
_NAMED = 3
"""Missing nodes that are named; the others are counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rendezvous:
    """How far the nodes have come in finding one another."""

    reason: str
    message: str
    wake_at: float | None = None
    """When more may be said though nothing has changed: seconds since 1970."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Member:
    pod: ObservedPod
    state: str
    """A `JoinState`, or one of the two below."""
    endpoint: str = ""
    detail: str = ""

    @property
    def name(self) -> str:
        return f"{self.pod.rank} (pod {self.pod.name} on node {self.pod.node})"


_SILENT = "Silent"
"""Its agent does not answer."""
_UNHEARD = "Unheard"
"""Its agent was not asked yet, or says nothing of the rendezvous."""

_GRAVITY = (
    JoinState.PORT_TAKEN,
    JoinState.NAME_UNKNOWN,
    JoinState.UNREACHABLE,
    JoinState.REFUSED,
    _SILENT,
    JoinState.CONNECTING,
    JoinState.STARTING,
    _UNHEARD,
)
"""What a person must see to stands first."""

_REASONS: Mapping[str, str] = {
    JoinState.PORT_TAKEN: "RendezvousPortTaken",
    JoinState.NAME_UNKNOWN: "RendezvousNameUnknown",
    JoinState.UNREACHABLE: "RendezvousUnreachable",
    JoinState.REFUSED: "RendezvousRefused",
    _SILENT: "AgentSilent",
}
_JOINING_REASON = "Joining"


def has_joined(status: WorkerStatus) -> bool:
    """Say whether the node of this agent has met the others."""
    return status.phase not in JOINING or (status.join or {}).get("state") == JoinState.JOINED


def is_joining(status: WorkerStatus | None) -> bool:
    """Say whether an attempt whose rank 0 said this last may still be meeting; None: rank 0 has not been heard."""
    return status is None or (status.phase in JOINING and status.step == 0)


def explain_rendezvous(
    pods: Sequence[ObservedPod], reports: Mapping[int, WorkerReport], *, since: float, now: float
) -> Rendezvous:
    """Say how many nodes have joined, which are missing, and why.

    Args:
        pods: all pods of the attempt; they run.
        reports: the last answers of their agents, by node rank.
        since: when all of them were seen to run, in seconds since 1970.
        now: seconds since 1970.
    """
    members = [_judge(pod, reports.get(pod.rank)) for pod in sorted(pods, key=lambda pod: pod.rank)]
    missing = [member for member in members if member.state != JoinState.JOINED]
    count = f"Rendezvous {len(members) - len(missing)} of {len(members)}"
    if not missing:
        return Rendezvous(reason=_JOINING_REASON, message=f"{count}: {_describe_last_stage(pods, reports)}")
    grace_ends = since + _GRACE_SECONDS
    if now < grace_ends and not any(member.state == JoinState.PORT_TAKEN for member in members):
        message = f"{count}: waiting for {_list(missing)}: torchrun is starting"
        return Rendezvous(reason=_JOINING_REASON, message=message, wake_at=grace_ends)
    if all(member.state == _SILENT for member in members):
        return Rendezvous(reason=_REASONS[_SILENT], message=f"{count}: {_NOBODY_ANSWERS}")
    gravest = min(missing, key=lambda member: (_GRAVITY.index(member.state), member.pod.rank))
    # Where nobody listens, it is node 0 that all others wait for.
    first = missing[0] if gravest.state == JoinState.REFUSED and missing[0].pod.rank == 0 else gravest
    named = [first, *(member for member in missing if member is not first)]
    return Rendezvous(
        reason=_REASONS.get(gravest.state, _JOINING_REASON),
        message=f"{count}: waiting for {_list(named)}{_explain(gravest, members)}",
    )


def _judge(pod: ObservedPod, report: WorkerReport | None) -> _Member:
    status = report.status if report else None
    if report is not None and report.failing_since is not None:
        return _Member(pod=pod, state=_SILENT)
    if status is None:
        return _Member(pod=pod, state=_UNHEARD)
    if has_joined(status):
        return _Member(pod=pod, state=JoinState.JOINED)
    join = status.join or {}
    state = str(join.get("state", _UNHEARD))
    return _Member(
        pod=pod,
        state=state if state in _GRAVITY else _UNHEARD,
        endpoint=str(join.get("endpoint", "")),
        detail=str(join.get("detail", "")),
    )


def _list(missing: Sequence[_Member]) -> str:
    shown = [member.name for member in missing[:_NAMED]]
    more = len(missing) - len(shown)
    return f"node rank{'s' if len(missing) > 1 else ''} {', '.join(shown)}" + (f" and {more} more" if more else "")


def _explain(member: _Member, members: Sequence[_Member]) -> str:
    host = members[0].pod
    said = f" ({member.detail})" if member.detail else ""
    rank = member.pod.rank
    match member.state:
        case JoinState.NAME_UNKNOWN:
            return (
                f". Rank {rank} finds no address for {member.endpoint}{said}. Check that DNS answers in this namespace, that no"
                " NetworkPolicy forbids port 53, and that the job's Service exists"
            )
        case JoinState.UNREACHABLE:
            return (
                f". Rank {rank} gets no answer from {member.endpoint} in pod {host.name} on node {host.node}{said}. Check that a"
                " NetworkPolicy lets the pods of this job reach one another on all ports, and the network between the nodes"
            )
        case JoinState.REFUSED:
            return (
                f". Nobody listens at {member.endpoint}{said}. See the log of pod {host.name} on node {host.node}: its torchrun"
                " has not started, or has ended"
            )
        case JoinState.PORT_TAKEN:
            return (
                f". Another process listens on the port of {member.endpoint} on node {member.pod.node}. End it; with hostNetwork"
                " pods on one node share their ports, so spread them"
            )
        case "Silent":
            return ". Its agent does not answer, those of others do. See whether the node is overloaded or cut off, and the pod's log"
    return ": its torchrun is starting"


_NOBODY_ANSWERS = "no agent answers, so who is missing is not known. Check that a NetworkPolicy lets the operator reach the status port of the pods"


def _describe_last_stage(pods: Sequence[ObservedPod], reports: Mapping[int, WorkerReport]) -> str:
    """All nodes have met; now their processes connect to one another, on ports of their own."""
    behind = [pod for pod in pods if (report := reports.get(pod.rank)) and _is_behind(report)]
    if not behind or len(behind) == len(pods):
        who = "the ranks"
    else:
        who = _list([_Member(pod=pod, state="") for pod in sorted(behind, key=lambda pod: pod.rank)])
    return (
        f"all nodes have joined; {who} still connect to one another. If this lasts, check that a NetworkPolicy lets the pods of this"
        " job reach one another on all ports"
    )


def _is_behind(report: WorkerReport) -> bool:
    return report.status is not None and report.status.phase in JOINING
