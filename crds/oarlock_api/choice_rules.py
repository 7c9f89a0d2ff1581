"""Rules for objects with a `name` and parameters that only some names have. Pure."""

import json
from collections.abc import Callable, Collection, Mapping

from oarlock_api.rule import Rule, Scope

Former = float | bool


def build_choice_rules(
    at: str,
    *,
    default: str,
    choices: Mapping[str, Collection[str]],
    former: Mapping[str, Former],
    remedies: Mapping[str, str] | None = None,
) -> tuple[Rule, ...]:
    """Return one rule for each parameter that not every choice has: it needs a choice that has it.

    What equals a default that the schema once had is no wish of anybody's, and passes.

    Args:
        at: dotted path of the object.
        default: its name if it gives none.
        choices: the parameters of each name, as on the wire.
        former: what the schema once filled in, by parameter.
        remedies: what to do instead, where more can be said than that another name has it.
    """
    parameters = sorted({parameter for own in choices.values() for parameter in own})
    owners = {parameter: [name for name in choices if parameter in choices[name]] for parameter in parameters}
    return tuple(
        _build_rule(
            at,
            parameter,
            owners[parameter],
            default=default,
            former=former.get(parameter),
            remedy=(remedies or {}).get(parameter),
        )
        for parameter in parameters
        if len(owners[parameter]) < len(choices)
    )


def _build_rule(
    at: str, parameter: str, owners: list[str], *, default: str, former: Former | None, remedy: str | None
) -> Rule:
    names = ", ".join(f"'{name}'" for name in owners)
    says_nothing = "" if former is None else f"self.{parameter} == {json.dumps(former)} || "
    return Rule(
        at=at,
        cel=f"!has(self.{parameter}) || {says_nothing}(has(self.name) ? self.name : '{default}') in [{names}]",
        broken=_find_stranger(parameter, owners, default=default, former=former),
        rule=f"must be {_list_names(owners)} to have {parameter}",
        remedy=remedy or f"drop {parameter}, or set name to one that has it",
    )


def _find_stranger(
    parameter: str, owners: Collection[str], *, default: str, former: Former | None
) -> Callable[[Scope], str | None]:
    def broken(scope: Scope) -> str | None:
        name, value = scope.get("name", default), scope.get(parameter)
        asks = value is not None and (former is None or value != former)
        return f"{parameter} with {name}" if asks and name not in owners else None

    return broken


def _list_names(names: list[str]) -> str:
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))
