"""What is wrong with a manifest: path, rule, finding, remedy, so that a person can mend it without reading our code."""

from collections.abc import Iterable
from dataclasses import dataclass

MAX_DESCRIPTION = 4000


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that is wrong."""

    path: str
    """Where: `spec.workers.nodes`."""
    rule: str
    """What must hold, following the path: `must be at least 1`."""
    found: str = ""
    """What is there instead."""
    remedy: str = ""
    """What to do about it."""
    line: int | None = None
    """Line in the manifest's file, where there is one."""

    def __str__(self) -> str:
        found = f", got {self.found}" if self.found else ""
        remedy = f": {self.remedy}" if self.remedy else ""
        return f"{self.path} {self.rule}{found}{remedy}"


class InvalidError(Exception):
    """A manifest cannot be used; holds everything that is wrong with it."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__(describe_findings(self.findings))


def describe_findings(findings: Iterable[Finding]) -> str:
    """Join findings into one message that fits into a condition."""
    lines = [str(finding) for finding in findings]
    text = "; ".join(lines)
    if len(text) <= MAX_DESCRIPTION:
        return text
    return text[: MAX_DESCRIPTION - 40] + f" … ({len(lines)} findings altogether)"
