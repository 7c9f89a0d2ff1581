"""What is wrong with manifests, and where: file and line, or the command-line option that said it."""

from collections.abc import Iterable
from dataclasses import dataclass

from oarlock_api.findings import Finding


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One finding with its place."""

    place: str
    """`job.yaml:12`, `--set spec.recipe.epochs=x`, or a file."""
    finding: Finding

    def __str__(self) -> str:
        return f"{self.place}: {self.finding}"


class ManifestsError(Exception):
    """Manifests cannot be used; holds everything that is wrong with them."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))
