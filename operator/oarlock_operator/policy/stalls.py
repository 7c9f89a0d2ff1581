"""Which rank holds up an attempt that does not move: the culprit among all that are silent, long before the deadline. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from oarlock_api.contract import StalledRank, Standing
from oarlock_operator.policy.times import format_time
from oarlock_operator.reconcile.observed import ObservedPod, WorkerReport

STALLED = "Stalled"
"""Reason of a job whose ranks do not move."""
_ORDER = tuple(Standing)

_STANDINGS: Mapping[str, str] = {
    Standing.STOPPED: "its process is stopped, by SIGSTOP or a debugger: let it go on (SIGCONT), or see who stopped it",
    Standing.CHILD_STOPPED: "a process that it started is stopped: see which one (a data worker?), and let it go on (SIGCONT)",
    Standing.WAITS_FOR_DISK: "it waits for a disk or a volume: see whether the volume and its server answer",
    Standing.BUSY: "it is in code of its own: see there whether it waits for something",
    Standing.WAITS_FOR_DATA: "it waits for its data: see whether the data volume answers",
    Standing.WAITS_FOR_RANKS: "it waits for other ranks, as all that are known do: check the network between the nodes",
    Standing.UNKNOWN: "see the stack in its pod's log once it counts as hung",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Suspect:
    pod: ObservedPod
    stalled: StalledRank

    @property
    def seniority(self) -> tuple[int, int, float, int]:
        """Who stands nearest to the cause: by what it does, then by who got least far, then by who fell silent first."""
        step = -1 if self.stalled.step is None else self.stalled.step
        return _ORDER.index(Standing(self.stalled.standing)), step, self.stalled.since, self.stalled.rank


def explain_stall(pods: Mapping[int, ObservedPod], reports: Mapping[int, WorkerReport]) -> str:
    """Name the rank that holds up the others; empty if all move, as far as known.

    Args:
        pods: the pods of the attempt, by node rank.
        reports: the last answers of their agents, by node rank.
    """
    suspects = list(_list_suspects(pods, reports))
    if not suspects:
        return ""
    culprit = min(suspects, key=lambda suspect: suspect.seniority)
    silent = [pods[rank] for rank, report in reports.items() if report.failing_since is not None and rank in pods]
    if culprit.stalled.standing == Standing.WAITS_FOR_RANKS and silent:
        pod = silent[0]
        return (
            f"{_describe(culprit)}; it waits for other ranks, and the agent of pod {pod.name} on node {pod.node} does not answer: see"
            " whether that node is overloaded or cut off"
        )
    return f"{_describe(culprit)}; {_describe_place(culprit.stalled)}"


def _list_suspects(pods: Mapping[int, ObservedPod], reports: Mapping[int, WorkerReport]) -> Iterator[_Suspect]:
    for rank, report in reports.items():
        if rank in pods and report.status is not None and report.failing_since is None:
            for wire in report.status.stalled:
                yield _Suspect(pod=pods[rank], stalled=StalledRank.from_wire(wire))


def _describe(suspect: _Suspect) -> str:
    stalled, pod = suspect.stalled, suspect.pod
    step = "" if stalled.step is None else f" after step {stalled.step}"
    due = "" if stalled.due is None else f"; it counts as hung at {_format(stalled.due)}"
    return (
        f"rank {stalled.rank} (pod {pod.name} on node {pod.node}) has not moved since {_format(stalled.since)} in phase"
        f" {stalled.phase}{step}{due}"
    )


def _describe_place(stalled: StalledRank) -> str:
    where = f" ({stalled.where})" if stalled.where else ""
    said = _STANDINGS[stalled.standing]
    head, colon, remedy = said.partition(":")
    return f"{head}{where}{colon}{remedy}"


def _format(seconds: float) -> str:
    """Return a time to the second: finer ones would make each report a new message."""
    return format_time(int(seconds)).replace(".000Z", "Z")
