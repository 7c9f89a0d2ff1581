"""A timeline of steps that a run never comes to would be ignored in silence. Pure."""

from collections.abc import Iterator, Mapping

from oarlock_api.findings import Finding
from oarlock_api.rule import Rule, Scope, number_of
from oarlock_api.v1alpha1.recipe import Recipe
from oarlock_api.v1alpha1.timeline import DEFAULT_FIRST_STEP

_REMEDY = "lower trace.firstStep, or drop trace"


def _trace_after_the_end(recipe: Scope) -> str | None:
    trace, steps = recipe.get("trace"), number_of(recipe, "maxSteps")
    if not isinstance(trace, Mapping) or steps is None:
        return None
    first = number_of({"firstStep": DEFAULT_FIRST_STEP, **trace}, "firstStep")
    return f"trace.firstStep {first} and maxSteps {steps}" if first is not None and first > steps else None


TIMELINE_RULES: tuple[Rule, ...] = (
    Rule(
        at="spec.recipe",
        cel="!has(self.trace) || !has(self.maxSteps)"
        f" || (has(self.trace.firstStep) ? self.trace.firstStep : {DEFAULT_FIRST_STEP}) <= self.maxSteps",
        broken=_trace_after_the_end,
        rule=f"must have trace.firstStep, which is {DEFAULT_FIRST_STEP} if left out, at most maxSteps",
        remedy=_REMEDY,
    ),
)


def find_trace_after_the_end(recipe: Recipe, *, steps: int) -> Iterator[Finding]:
    """Yield it if the run has fewer steps, of its epochs, than come before its timeline."""
    if recipe.trace is not None and recipe.max_steps is None and recipe.trace.first_step > steps:
        yield Finding(
            path="spec.recipe.trace.firstStep",
            rule=f"must be at most the run's steps, {steps}",
            found=str(recipe.trace.first_step),
            remedy=_REMEDY,
        )
