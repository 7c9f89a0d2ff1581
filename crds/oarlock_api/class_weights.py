"""Weights of classes that a recipe gives by name: what contradicts them, and names that no class has. Pure.

Names are judged twice, by the same words: against the status of the Dataset, before any pod, as far as it shows them as they
are; and by the trainer, which has them all.
"""

import difflib
from collections.abc import Iterator, Sequence

from oarlock_api.findings import Finding
from oarlock_api.rule import Rule, Scope
from oarlock_api.v1alpha1.recipe import Loss

_LONGEST_SHOWN = 63
"""Characters of a class name that a status never shortens."""
_NAMES_SHOWN = 3
_LIKENESS = 0.4
"""From which share of common letters on a name may have been meant."""
_SOUGHT = 8
"""Unknown names for which the nearest are looked for: for a thousand among a thousand it would take a minute."""


def _weighed_twice(loss: Scope) -> str | None:
    balanced = loss.get("classWeights") == "balanced" and loss.get("weightByClass") is not None
    return "balanced and weightByClass" if balanced else None


CLASS_WEIGHT_RULES: tuple[Rule, ...] = (
    Rule(
        at="spec.recipe.loss",
        cel="!has(self.weightByClass) || !has(self.classWeights) || self.classWeights != 'balanced'",
        broken=_weighed_twice,
        rule="must not have both classWeights balanced and weightByClass",
        remedy="keep the one you mean",
    ),
)


def find_unknown_classes(loss: Loss, classes: Sequence[str]) -> Iterator[Finding]:
    """Yield a finding for each weight of a class that the data set does not have.

    Args:
        loss: the loss of the recipe.
        classes: the names of all classes of the data set.
    """
    for number, name in enumerate(sorted((loss.weight_by_class or {}).keys() - set(classes))):
        yield Finding(
            path=f"spec.recipe.loss.weightByClass.{name}",
            rule="must be named after a class of the data set",
            found=repr(name),
            remedy=_advise(name, classes, seeks=number < _SOUGHT),
        )


def _advise(name: str, classes: Sequence[str], *, seeks: bool) -> str:
    if not classes:
        return "leave it out: the data set has no classes"
    nearest = difflib.get_close_matches(name, classes, n=_NAMES_SHOWN, cutoff=_LIKENESS) if seeks else []
    if nearest:
        return f"the nearest are {', '.join(nearest)}"
    return f"the first of {len(classes)} are {', '.join(classes[:_NAMES_SHOWN])}"


def find_classes_unknown_early(loss: Loss, shown: Sequence[str], *, count: int) -> Iterator[Finding]:
    """Yield the findings that the status of a Dataset is enough for: it holds few names, shortened and without markup.

    Args:
        loss: the loss of the recipe.
        shown: class names as the status has them.
        count: how many classes there are.
    """
    if len(shown) == count:
        plain = {name: weight for name, weight in (loss.weight_by_class or {}).items() if _is_shown_as_it_is(name)}
        yield from find_unknown_classes(loss.model_copy(update={"weight_by_class": plain}), shown)


def _is_shown_as_it_is(name: str) -> bool:
    plain = name.isascii() and name.isprintable() and not {"<", ">"} & set(name) and "](" not in name
    return plain and len(name) <= _LONGEST_SHOWN
