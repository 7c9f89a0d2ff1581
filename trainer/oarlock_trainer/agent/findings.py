"""The words of failures: what was found, where, and what to do about it. Pure."""

import signal
from dataclasses import replace

from oarlock_api.contract import EXIT_SUCCESS, Cause, Failure, JoinState, Outcome, PodPhase, Standing
from oarlock_trainer.agent.deadlines import Hang
from oarlock_trainer.agent.evidence import Evidence
from oarlock_trainer.agent.lost_files import LOST_PAGE_REMEDY
from oarlock_trainer.agent.process_tree import ProcessEnd
from oarlock_trainer.agent.standing import Place
from oarlock_trainer.agent.tracebacks import ChildFailure, find_child_failure, find_exception
from oarlock_trainer.error_texts import explain_text
from oarlock_trainer.rank_record import RankReading

PROGRAM_MEMORY_REMEDY = "raise workers.resources.memory, or have the program hold less at once"
MEMORY_REMEDY = "raise workers.resources.memory, or lower recipe.microBatchSize"
_LOG_REMEDY = "read the log of this attempt on the checkpoint volume; its end is in the detail"
_PROGRAM_REMEDY = "mend the program: where it failed is in the detail, all that it printed in the log of this attempt"
_SIGNAL_REMEDIES = {
    signal.SIGKILL: "see what killed it: the node's memory, an administrator, or a limit of the container",
    signal.SIGSEGV: "a native library crashed: its stack is in the log; try another version of it or of the image",
    signal.SIGABRT: "a native library gave up: its message is in the log, NCCL's watchdog among them",
    signal.SIGBUS: LOST_PAGE_REMEDY,
}
_DETAIL_LINES = 30
_STANDINGS = {
    Standing.STOPPED: "its process is stopped, by SIGSTOP or a debugger",
    Standing.CHILD_STOPPED: "a process that it started is stopped, by SIGSTOP or a debugger",
    Standing.WAITS_FOR_DISK: "it waits for a disk or a volume that does not answer",
    Standing.BUSY: "it is in code of its own",
    Standing.WAITS_FOR_DATA: "it waits for its data workers or its data",
    Standing.WAITS_FOR_RANKS: "it waits for other ranks in a collective operation",
    Standing.UNKNOWN: "",
}
_SLOW = "if the phase is only slow, raise runPolicy.progressDeadlineSeconds"
_HUNG_REMEDY = f"the stack of the hung process is in the detail; {_SLOW}"
_STOPPED_REMEDY = "see who stopped it: a debugger, or an administrator on the node; training resumes by itself"
_HUNG_REMEDIES = {
    Standing.STOPPED: _STOPPED_REMEDY,
    Standing.CHILD_STOPPED: _STOPPED_REMEDY,
    Standing.WAITS_FOR_DISK: f"see to the volume and its server; {_SLOW}",
    Standing.WAITS_FOR_DATA: f"see that the data volume answers; {_SLOW}",
}
_VICTIM_REMEDY = (
    "see the rank that fell silent first: its pod ends as Hung; if there is none, the network between nodes is at fault"
)
_JOIN_FINDINGS: dict[str, tuple[str, str]] = {
    JoinState.NAME_UNKNOWN: (
        "the name of node 0 has no address",
        "see that the pod of node 0 runs, and that DNS answers in this namespace (a NetworkPolicy must allow port 53)",
    ),
    JoinState.UNREACHABLE: (
        "node 0 does not answer",
        "see that a NetworkPolicy lets the pods of the job reach one another, on all ports",
    ),
    JoinState.REFUSED: ("nobody listens there", "see the pod of node 0: its torchrun has ended, or did not start"),
    JoinState.PORT_TAKEN: (
        "the rendezvous port is taken",
        "end the other process; with hostNetwork, pods on one node share their ports, so spread them",
    ),
}
"""By what the agent saw last of the rendezvous."""


def complete_reported(failure: Failure, evidence: Evidence, local_rank: int) -> Failure:
    """Add to a rank's own report where and when it was made."""
    reading = evidence.readings[local_rank]
    return replace(
        failure,
        rank=reading.rank if failure.rank is None else failure.rank,
        node=evidence.node if failure.node is None else failure.node,
        phase=failure.phase or reading.phase,
        step=reading.step if failure.step is None else failure.step,
        detail=failure.detail or _build_detail(evidence),
    )


def build_death(evidence: Evidence, local_rank: int, end: ProcessEnd, *, cause: Cause) -> Failure:
    """Describe a rank that ended without reporting why."""
    reading = evidence.readings.get(local_rank)
    remedy = _SIGNAL_REMEDIES.get(end.signal, _LOG_REMEDY) if end.signal is not None else _LOG_REMEDY  # type: ignore[call-overload]
    # Native libraries end a process without an exception: what they printed is all that they say.
    meaning = explain_text(_build_detail(evidence)) if _may_have_printed(end, cause) else None
    raised = find_exception(evidence.last_lines) if evidence.is_script and not meaning else None
    lost = evidence.lost_file if end.signal == signal.SIGBUS and not meaning else None
    said = f" It printed: {meaning.finding}" if meaning else f" It raised {raised.summary}" if raised else ""
    found = f" A page of a mapped file was not to be had; {lost.finding}." if lost else ""
    known = meaning or lost
    return Failure(
        cause=known.cause if known else cause,
        message=f"{_name_rank(evidence, local_rank)} {end.describe()}{_describe_place(reading)}.{said}{found}",
        remedy=known.remedy if known else _PROGRAM_REMEDY if raised else remedy,
        rank=evidence.first_rank + local_rank,
        node=evidence.node,
        phase=reading.phase if reading else PodPhase.STARTING,
        step=reading.step if reading else None,
        exit_code=end.code,
        signal=end.signal,
        detail=raised.traceback if raised else _build_detail(evidence),
    )


def build_hung(evidence: Evidence, hang: Hang) -> Failure:
    """Describe a rank, or torchrun itself, that made no progress.

    On several nodes, a rank that waits for others is a victim, and its pod says so: the pod of the culprit names it.
    """
    who = evidence.program if hang.local_rank is None else _name_rank(evidence, hang.local_rank)
    place = f" in phase {hang.phase}" + ("" if hang.step is None else f" after step {hang.step}")
    is_victim = evidence.nodes > 1 and hang.place.standing is Standing.WAITS_FOR_RANKS
    return Failure(
        cause=Cause.COLLECTIVE_FAILED if is_victim else Cause.HUNG,
        message=f"{who} made no progress for {hang.seconds:.0f} s{place}{_describe_standing(hang.place)}.",
        remedy=_VICTIM_REMEDY if is_victim else _choose_hung_remedy(hang),
        rank=None if hang.local_rank is None else evidence.first_rank + hang.local_rank,
        node=evidence.node,
        phase=hang.phase,
        step=hang.step,
        detail=_build_hung_detail(evidence, hang),
    )


def blame_silent_nodes(failure: Failure, evidence: Evidence) -> Failure:
    """Name the nodes that do not answer, if the others' silence is all that is wrong with this one."""
    if failure.cause != Cause.COLLECTIVE_FAILED or not evidence.silent:
        return failure
    first = evidence.silent[0]
    more = f", and {len(evidence.silent) - 1} other nodes" if len(evidence.silent) > 1 else ""
    return replace(
        failure,
        message=f"{failure.message} Nothing answers at {first}{more}.",
        remedy="see whether that node is up and reaches the others; training resumes from the last checkpoint",
        rank=first.ranks[0],
        node=first.node,
    )


def _choose_hung_remedy(hang: Hang) -> str:
    if hang.local_rank is None:
        return f"{_LOG_REMEDY}; {_SLOW}"
    return _HUNG_REMEDIES.get(hang.place.standing, _HUNG_REMEDY)


def _describe_standing(place: Place) -> str:
    said = _STANDINGS[place.standing] or ("it is here" if place.where else "")
    return (f"; {said}" if said else "") + (f" ({place.where})" if place.where else "")


def _build_hung_detail(evidence: Evidence, hang: Hang) -> str:
    """The stack comes last: where there is too little room, the end is kept."""
    stack = hang.place.stack
    if not stack:
        return _build_detail(evidence)
    return f"{_build_detail(evidence)}\n\nStack, the innermost call first:\n{stack}"


def build_launcher_failure(evidence: Evidence) -> Failure | None:
    """Describe torchrun's, or the importer's, own bad end, if it had one."""
    end = evidence.launcher_end
    if end is None or end.code == EXIT_SUCCESS:
        return None
    nobody_started = not evidence.ends and not evidence.readings
    if evidence.is_script and not evidence.ends and (told := find_child_failure(evidence.last_lines)):
        return _build_quick_death(evidence, told)
    if nobody_started and evidence.nodes > 1 and end.code is not None:
        return _build_rendezvous_failure(evidence, end)
    return Failure(
        cause=Cause.UNKNOWN if end.code is not None else Cause.PROCESS_KILLED,
        message=f"{evidence.program} of node rank {evidence.node} {end.describe()}"
        + (" before any rank could start." if nobody_started else "."),
        remedy=_LOG_REMEDY if end.code is not None else _SIGNAL_REMEDIES[signal.SIGKILL],
        node=evidence.node,
        phase=PodPhase.STARTING if nobody_started else "",
        exit_code=end.code,
        signal=end.signal,
        detail=_build_detail(evidence),
    )


def _build_quick_death(evidence: Evidence, told: ChildFailure) -> Failure:
    """Describe a rank that was gone before the agent saw it, by what torchrun says of it."""
    end = ProcessEnd(code=told.code if told.code >= 0 else None, signal=-told.code if told.code < 0 else None, at=0.0)
    cause = Cause.PROCESS_KILLED if told.code < 0 else Cause.USER_ERROR
    return build_death(evidence, told.rank - evidence.first_rank, end, cause=cause)


def build_unexplained(evidence: Evidence) -> Failure:
    """Describe an end that nothing explains: say so rather than guess."""
    unfinished = [rank for rank, outcome in enumerate(evidence.outcomes) if outcome is not Outcome.SUCCEEDED]
    who = ", ".join(
        _name_rank(evidence, rank) + _describe_place(evidence.readings.get(rank)) for rank in unfinished[:3]
    )
    return Failure(
        cause=Cause.UNKNOWN,
        message=f"{evidence.program} of node rank {evidence.node} ended without an error, yet not all work was finished: {who}.",
        remedy=_LOG_REMEDY,
        node=evidence.node,
        detail=_build_detail(evidence),
    )


def _may_have_printed(end: ProcessEnd, cause: Cause) -> bool:
    return end.signal in (signal.SIGABRT, signal.SIGBUS, signal.SIGSEGV) or (
        end.code is not None and cause in (Cause.UNKNOWN, Cause.USER_ERROR)
    )


def _build_rendezvous_failure(evidence: Evidence, end: ProcessEnd) -> Failure:
    meaning = explain_text(_build_detail(evidence))
    join = evidence.join
    said, remedy = _JOIN_FINDINGS.get(join.state if join else "", ("", ""))
    # What the agent saw itself comes first: torchrun calls an unknown name a timeout.
    seen = f": {said}" + (f" ({join.detail})" if join and join.detail else "") if said else ""
    printed = f"; torchrun says: {meaning.finding}" if meaning else ""
    return Failure(
        cause=Cause.RENDEZVOUS_FAILED,
        message=f"Node rank {evidence.node} of {evidence.nodes} nodes did not join the others{seen}{printed}.",
        remedy=remedy
        or (meaning.remedy if meaning else "")
        or "see that all pods of the job are scheduled and running, and that a NetworkPolicy lets them reach one another",
        node=evidence.node,
        phase=PodPhase.RENDEZVOUS,
        exit_code=end.code,
        detail=_build_detail(evidence),
    )


def _name_rank(evidence: Evidence, local_rank: int) -> str:
    reading = evidence.readings.get(local_rank)
    process = f", process {reading.pid}" if reading else ""
    return f"Rank {evidence.first_rank + local_rank} (node rank {evidence.node}{process})"


def _describe_place(reading: RankReading | None) -> str:
    if reading is None:
        return " before it could report"
    return f" in phase {reading.phase}" + ("" if reading.step is None else f" after step {reading.step}")


def _build_detail(evidence: Evidence) -> str:
    return "\n".join(evidence.last_lines[-_DETAIL_LINES:])
