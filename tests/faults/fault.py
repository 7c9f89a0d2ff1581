"""A row of the table of faults: what is injected, and what the status says of it. The tests and docs/faults.md are made of it.

A shape is a message as the status shows it, with `<…>` where a name or a figure stands: everything else is taken literally. What
another program says, and may say otherwise in its next version, belongs into such brackets.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Answer(StrEnum):
    """What the operator does about a fault."""

    FREE = "new attempt, free"
    WINDOWED = "new attempt, free unless such faults are frequent or training does not advance"
    COUNTED = "new attempt, counted against backoffLimit"
    NEVER = "the job fails: trying again would not help"
    WAITS = "waits, and goes on by itself once it is remedied"
    GOES_ON = "training goes on"
    IN_PLACE = "the agent starts torchrun again in the same pods"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One fault."""

    name: str
    """Unique, and fit for the name of a job."""
    topic: str
    """Heading in the page under which it stands."""
    fault: str
    """What goes wrong."""
    injected: str
    """How a test brings it about."""
    phase: str
    """Phase of the job once the fault is known."""
    reason: str
    """Reason in the status: with a failed attempt, its cause."""
    message: str
    """Shape of what the status says, culprit included."""
    remedy: str
    """Shape of the remedy, a part of the same status."""
    answer: Answer
    test: str
    """The file that injects it, below tests/."""
    clock: str = ""
    """What must pass, beside 30 seconds, before anybody can know: a deadline of the job's or of the cluster's."""


def match_shape(shape: str, text: str) -> bool:
    """Say whether a text contains what a shape stands for."""
    parts = re.split(r"<[^<>]+>", shape)
    return re.search(r".+?".join(re.escape(part) for part in parts), text, re.DOTALL) is not None


def _has_gone_on(fault: Fault, status: Mapping[str, Any]) -> bool:
    """Say whether a job has started anew already after the failure that a row is about."""
    return fault.phase == "Restarting" and bool(status.get("restartCount"))


def find_difference(fault: Fault, status: Mapping[str, Any]) -> str:
    """Return how the status of a job differs from what a row says; empty if it does not.

    What the status of a moment ago said remains in its failures, once the job has started anew.
    """
    said = [str(status.get("message") or "")]
    said += [f"{failure.get('message', '')} ({failure.get('remedy', '')})" for failure in status.get("failures") or ()]
    said += [str(condition.get("message") or "") for condition in status.get("conditions") or ()]
    reasons = {status.get("reason"), *(failure.get("cause") for failure in status.get("failures") or ())}
    reasons |= {each.get("reason") for each in status.get("conditions") or ()}
    differences = {
        f"phase {fault.phase}": status.get("phase") == fault.phase or _has_gone_on(fault, status),
        f"reason {fault.reason}": fault.reason in reasons,
        f"message {fault.message!r}": any(match_shape(fault.message, text) for text in said),
        f"remedy {fault.remedy!r}": any(match_shape(fault.remedy, text) for text in said),
    }
    return ", ".join(what for what, holds in differences.items() if not holds)
