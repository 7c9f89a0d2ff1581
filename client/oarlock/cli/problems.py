"""What is wrong with manifests, for people and for programs."""

from itertools import groupby
from typing import Any

from rich.console import Console
from rich.markup import escape

from oarlock.cli.wording import count_of
from oarlock.manifests.problems import ManifestsError, Problem


def print_problems(console: Console, error: ManifestsError) -> None:
    """Print all problems, grouped by where they are."""
    for place, problems in groupby(error.problems, key=lambda problem: problem.place):
        for problem in problems:
            console.print(f"[bold]{escape(place)}[/]: {_describe(problem)}", highlight=False, soft_wrap=True)
    console.print(f"[red]{count_of(len(error.problems), 'problem')}[/]; nothing was done.", highlight=False)


def build_problems(error: Exception, *, exit_code: int) -> dict[str, Any]:
    """Return what `-o json` prints when nothing was done: every problem with a manifest, or the one with all the rest."""
    if not isinstance(error, ManifestsError):
        return {"exitCode": exit_code, "problems": [{"rule": str(error)}]}
    return {"exitCode": exit_code, "problems": [_build_entry(problem) for problem in error.problems]}


def _build_entry(problem: Problem) -> dict[str, Any]:
    finding = problem.finding
    entry = {"path": finding.path, "rule": finding.rule, "found": finding.found, "remedy": finding.remedy}
    file, _, line = problem.place.rpartition(":")
    if file and line.isdigit():
        return {**entry, "file": file, "line": int(line)}
    return {**entry, "option" if problem.place.startswith("--") else "file": problem.place}


def _describe(problem: Problem) -> str:
    finding = problem.finding
    found = f", got {escape(finding.found)}" if finding.found else ""
    remedy = f"\n    [dim]→[/] {escape(finding.remedy)}" if finding.remedy else ""
    return f"[cyan]{escape(finding.path)}[/] {escape(finding.rule)}{found}{remedy}"
