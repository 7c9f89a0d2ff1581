"""What must hold of parameter groups before any model is there: patterns that can be read, and nothing that contradicts itself.

Whether a pattern matches a parameter is the trainer's to say, which has the model. Pure.
"""

import re
from collections.abc import Iterator

from oarlock_api.findings import Finding
from oarlock_api.rule import Rule, Scope, list_given
from oarlock_api.v1alpha1.recipe import Recipe


def _frozen_and_trained(group: Scope) -> str | None:
    given = list_given(group, ("learningRate", "weightDecay"))
    return f"freeze and {' and '.join(given)}" if given and group.get("freeze") is True else None


PARAMETER_GROUP_RULES: tuple[Rule, ...] = (
    Rule(
        at="spec.recipe.paramGroups[]",
        cel="!has(self.freeze) || !self.freeze || (!has(self.learningRate) && !has(self.weightDecay))",
        broken=_frozen_and_trained,
        rule="must not say how a frozen group is trained",
        remedy="drop freeze, or drop learningRate and weightDecay",
    ),
)


def find_bad_patterns(recipe: Recipe) -> Iterator[Finding]:
    """Yield a finding for each pattern that is no regular expression."""
    for index, group in enumerate(recipe.param_groups or ()):
        try:
            re.compile(group.match)
        except (re.error, OverflowError, RecursionError) as error:
            yield Finding(
                path=f"spec.recipe.paramGroups[{index}].match",
                rule="must be a regular expression of Python",
                found=f"{group.match!r} ({error})",
                remedy="for example fc.* or layer[12].*",
            )
