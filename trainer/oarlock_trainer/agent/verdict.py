"""From what is known about the end of a try to its outcome, cause and first failing rank. Pure.

A killed rank leaves no word, while its peers report the collective that broke: the one that was killed is named. A failure of
a rank's own outweighs the collectives that it broke elsewhere; of several, the earliest is the first.
"""

import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace

from oarlock_api.contract import CAUSES_BY_EXIT_CODE, EXIT_CODES, EXIT_SUCCESS, EXIT_SUSPENDED, Cause, Failure, Outcome
from oarlock_trainer.agent import findings
from oarlock_trainer.agent.evidence import Evidence, Verdict

_CONSEQUENCES = frozenset({Cause.COLLECTIVE_FAILED, Cause.RENDEZVOUS_FAILED})
"""Causes that another rank's end brings about."""
_FAULTS = frozenset({Cause.PROCESS_KILLED, Cause.COLLECTIVE_FAILED, Cause.UNKNOWN, Cause.RENDEZVOUS_FAILED})
"""Causes that a pod on its way out brings about itself, and behind which the OOM killer may be."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Finding:
    at: float
    failure: Failure


def decide_verdict(evidence: Evidence) -> Verdict:
    """Say how a try ended."""
    if set(evidence.outcomes) == {Outcome.SUCCEEDED}:
        return Verdict(outcome=Outcome.SUCCEEDED)
    failure = _find_failure(evidence)
    if failure is not None and failure.cause == Cause.SUPERSEDED:
        return Verdict(outcome=Outcome.SUPERSEDED, failure=failure)
    if Outcome.SUPERSEDED in evidence.outcomes:
        return Verdict(outcome=Outcome.SUPERSEDED)
    if _is_suspended(evidence, failure):
        return Verdict(outcome=Outcome.SUSPENDED, warnings=_warn_of_lost_steps(evidence))
    if failure is None and _has_ended_well(evidence):
        return Verdict(outcome=Outcome.SUCCEEDED)
    return Verdict(outcome=Outcome.FAILED, failure=failure or findings.build_unexplained(evidence))


def exit_code_for(verdict: Verdict) -> int:
    """Return the exit code of the agent, and so of the pod."""
    if verdict.outcome is Outcome.SUCCEEDED:
        return EXIT_SUCCESS
    if verdict.outcome is Outcome.SUSPENDED:
        return EXIT_SUSPENDED
    if verdict.outcome is Outcome.SUPERSEDED:
        return EXIT_CODES[Cause.SUPERSEDED]
    return EXIT_CODES[Cause(verdict.failure.cause) if verdict.failure else Cause.UNKNOWN]


def _find_failure(evidence: Evidence) -> Failure | None:
    if evidence.hang is not None:
        return findings.blame_silent_nodes(findings.build_hung(evidence, evidence.hang), evidence)
    found = [*_list_reported(evidence), *_list_deaths(evidence)]
    own = [finding for finding in found if finding.failure.cause not in _CONSEQUENCES]
    first = min(own or found, key=lambda finding: finding.at, default=None)
    launcher_failure = findings.build_launcher_failure(evidence)
    killed_with_all = launcher_failure is not None and launcher_failure.signal is not None and not own
    failure = first.failure if first and not killed_with_all else launcher_failure
    return findings.blame_silent_nodes(_blame_memory(failure, evidence), evidence) if failure else None


def _list_reported(evidence: Evidence) -> Iterator[_Finding]:
    for local_rank, reading in evidence.readings.items():
        if reading.failure is not None:
            failure = findings.complete_reported(reading.failure, evidence, local_rank)
            yield _Finding(at=reading.failed_at or reading.since, failure=failure)


def _list_deaths(evidence: Evidence) -> Iterator[_Finding]:
    """Yield the ranks that ended badly without a word of their own."""
    launcher_killed = evidence.launcher_end is not None and evidence.launcher_end.signal is not None
    for local_rank, end in evidence.ends.items():
        reading = evidence.readings.get(local_rank)
        has_spoken = reading is not None and reading.outcome is not None
        # A torchrun that is killed takes its ranks with it: they asked the kernel for that.
        taken_along = launcher_killed and end.signal == signal.SIGKILL
        fine = (EXIT_SUCCESS,) if evidence.is_script else (EXIT_SUCCESS, EXIT_SUSPENDED)
        if not has_spoken and not taken_along and end.code not in fine:
            cause = _name_cause(evidence, end.code)
            yield _Finding(at=end.at, failure=findings.build_death(evidence, local_rank, end, cause=cause))


def _name_cause(evidence: Evidence, code: int | None) -> Cause:
    """Return the cause that an exit code stands for; None: the process was killed."""
    if code is None:
        return Cause.PROCESS_KILLED
    if evidence.is_script:
        # The codes of a program are its own, and one that was asked to stop may end with whichever it likes.
        return Cause.UNKNOWN if evidence.stopping else Cause.USER_ERROR
    return CAUSES_BY_EXIT_CODE.get(code, Cause.UNKNOWN)


def _blame_memory(failure: Failure, evidence: Evidence) -> Failure:
    if not evidence.oom_kills or failure.cause not in _FAULTS:
        return failure
    return replace(
        failure,
        cause=Cause.OUT_OF_MEMORY,
        message=f"The kernel's OOM killer ended {evidence.oom_kills} process(es) of this pod. {failure.message}",
        remedy=findings.PROGRAM_MEMORY_REMEDY if evidence.is_script else findings.MEMORY_REMEDY,
    )


def _is_suspended(evidence: Evidence, failure: Failure | None) -> bool:
    """Say whether the pod ended because it was asked to: what broke on the way out is then not a failure."""
    left_for_later = not evidence.is_script and any(end.code == EXIT_SUSPENDED for end in evidence.ends.values())
    asked = evidence.stopping or left_for_later or Outcome.SUSPENDED in evidence.outcomes
    return asked and (failure is None or failure.cause in _FAULTS)


def _warn_of_lost_steps(evidence: Evidence) -> tuple[str, ...]:
    if not evidence.grace_expired and all(reading.is_outside for reading in evidence.readings.values()):
        return _warn_of_unknown_state(evidence)
    if not evidence.grace_expired:
        return ()
    return ("The grace period ended before all ranks had checkpointed: training resumes from an earlier checkpoint.",)


def _warn_of_unknown_state(evidence: Evidence) -> tuple[str, ...]:
    if not evidence.is_script:
        return ()
    return (
        "The program was asked to stop and has ended: it goes on from what it has saved in OARLOCK_CHECKPOINT_DIR.",
    )


def _has_ended_well(evidence: Evidence) -> bool:
    """A program that keeps no rank records, but whose processes all ended with 0."""
    codes = [end.code for end in evidence.ends.values()]
    launcher_ok = evidence.launcher_end is not None and evidence.launcher_end.code == EXIT_SUCCESS
    has_no_word = evidence.is_script or not evidence.readings
    return has_no_word and (launcher_ok or len(codes) == evidence.processes) and set(codes) <= {EXIT_SUCCESS}
