"""Prints what is wrong with manifests."""

from itertools import groupby

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


def _describe(problem: Problem) -> str:
    finding = problem.finding
    found = f", got {escape(finding.found)}" if finding.found else ""
    remedy = f"\n    [dim]→[/] {escape(finding.remedy)}" if finding.remedy else ""
    return f"[cyan]{escape(finding.path)}[/] {escape(finding.rule)}{found}{remedy}"
