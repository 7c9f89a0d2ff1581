"""`--set PATH=VALUE`: changes to manifests from the command line. Pure."""

import copy
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from oarlock.manifests.yaml_values import parse_scalar

_FORM = re.compile(
    r"^(?:(?P<kind>[A-Za-z]+)(?:/(?P<name>[a-z0-9-]+))?:)?(?P<path>spec(?:\.[A-Za-z0-9_\-/]+|\[\d+\])+)=(?P<value>.*)$",
    re.DOTALL,
)
_STEP = re.compile(r"[^.\[\]]+")
_WORDS = frozenset({"on", "off"})
_DEFAULT_KIND = "TrainingJob"
_ALTERNATIVES = (
    ("spec.recipe.epochs", "spec.recipe.maxSteps"),
    ("spec.model.name", "spec.model.torchvision", "spec.model.timm", "spec.model.python"),
)
"""Fields of a TrainingJob of which there may be one."""


class OverrideError(Exception):
    """An override cannot be understood, or does not fit the manifest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Override:
    """One value to put into manifests."""

    text: str
    """As it was given."""
    kind: str
    name: str | None
    """None: every object of the kind."""
    path: str
    value: Any

    def concerns(self, kind: str, name: str) -> bool:
        return self.kind.lower() == kind.lower() and self.name in (None, name)


def parse_override(text: str) -> Override:
    """Read `spec.recipe.epochs=3`, `Dataset:spec.split.seed=1` or `TrainingJob/lenet:spec.workers.nodes=1`.

    Raises:
        OverrideError: says what the form is, or that there is no value.
    """
    match = _FORM.match(text)
    if not match:
        raise OverrideError(f"--set needs [KIND[/NAME]:]spec.PATH=VALUE, as in spec.recipe.epochs=3, got {text!r}")
    if not match["value"].strip():
        raise OverrideError(
            f"--set {text} has no value: write {text}null for the default, or {text}'\"\"' for an empty text"
        )
    return Override(
        text=text,
        kind=match["kind"] or _DEFAULT_KIND,
        name=match["name"],
        path=match["path"],
        value=_read_value(match["value"]),
    )


def _read_value(text: str) -> Any:
    """Read a value as in a manifest, but for on and off, which are words here: nobody writes them for true and false."""
    return text.strip() if text.strip() in _WORDS else parse_scalar(text)


def override(body: Mapping[str, Any], change: Override) -> dict[str, Any]:
    """Return the manifest with one value changed; a null takes the field away.

    Raises:
        OverrideError: if the path leads through something that is not there and is no object.
    """
    changed = copy.deepcopy(dict(body))
    steps = _STEP.findall(change.path)
    current: Any = changed
    for step in steps[:-1]:
        current = _descend(current, step, change)
    _put(current, steps[-1], change)
    return changed


def give_way(named: Iterable[tuple[str, str]], changes: Sequence[Override]) -> Iterator[Override]:
    """Yield what takes away, from inferred manifests, the fields that cannot stand beside those of the command line.

    Args:
        named: kind and name of each object that was inferred.
        changes: of the command line; where they contradict each other, that is the user's to mend.
    """
    for kind, name in named:
        for change in changes:
            paths = next((paths for paths in _ALTERNATIVES if _lies_in(change.path, paths)), ())
            if kind == _DEFAULT_KIND and change.concerns(kind, name) and change.value is not None:
                others = [path for path in paths if not _lies_in(change.path, (path,))]
                yield from (replace(change, kind=kind, name=name, path=path, value=None) for path in others)


def _lies_in(path: str, parents: Iterable[str]) -> bool:
    return any(path == parent or path.startswith(f"{parent}.") for parent in parents)


def _descend(current: Any, step: str, change: Override) -> Any:
    if isinstance(current, list):
        return current[_index(current, step, change)]
    if not isinstance(current, dict):
        raise OverrideError(f"--set {change.text}: {step} is below a value, which has no fields")
    if current.get(step) is None:
        current[step] = {}
    return current[step]


def _put(current: Any, step: str, change: Override) -> None:
    if isinstance(current, list):
        current[_index(current, step, change)] = change.value
    elif not isinstance(current, dict):
        raise OverrideError(f"--set {change.text}: {step} is below a value, which has no fields")
    elif change.value is None:
        current.pop(step, None)
    else:
        current[step] = change.value


def _index(current: list[Any], step: str, change: Override) -> int:
    if not step.isdigit() or int(step) >= len(current):
        raise OverrideError(f"--set {change.text}: [{step}] is not in the list, which has {len(current)} items")
    return int(step)
