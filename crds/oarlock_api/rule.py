"""One cross-field rule, in both its forms. The rules themselves are in `rules` and `pod_template_rules`. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Scope = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """A rule about several fields of one object in the manifest."""

    at: str
    """Dotted path of the object that the rule speaks of; `[]` stands for every item of a list."""
    cel: str
    """The rule in CEL; `self` is that object."""
    broken: Callable[[Scope], str | None]
    """The rule in Python: what was found if it is broken, else None."""
    rule: str
    """What must hold, for people."""
    remedy: str


_RESERVED_WORDS = frozenset(
    {
        *("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import"),
        *("let", "loop", "package", "namespace", "return", "var", "void", "while"),
    }
)


def name_in_cel(field: str) -> str:
    """Return how CEL on an API server calls a field: words of its own, and signs that no name has there, are spelled out."""
    if field in _RESERVED_WORDS:
        return f"__{field}__"
    spelled = field.replace("__", "__underscores__").replace(".", "__dot__")
    return spelled.replace("-", "__dash__").replace("/", "__slash__")


def list_given(scope: Scope, names: Sequence[str]) -> list[str]:
    """Return those of some fields that an object has."""
    return [name for name in names if scope.get(name) is not None]


def number_of(scope: Scope, name: str) -> float | None:
    """Return the number that a field of an object has; None if it has none, or what is none."""
    value = scope.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def require_exactly_one(at: str, *names: str) -> Rule:
    """Return the rule that an object has exactly one of some fields."""
    terms = " + ".join(f"(has(self.{name_in_cel(name)}) ? 1 : 0)" for name in names)
    listed = ", ".join(names)

    def broken(scope: Scope) -> str | None:
        given = list_given(scope, names)
        return None if len(given) == 1 else (" and ".join(given) or "none")

    return Rule(
        at=at,
        cel=f"{terms} == 1",
        broken=broken,
        rule=f"must have exactly one of {listed}",
        remedy="keep the one you mean",
    )
