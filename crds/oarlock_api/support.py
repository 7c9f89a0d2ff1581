"""What the API declares and nothing acts on yet: refused with "not supported yet", never ignored.

A row goes when the feature comes. Pure.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from oarlock_api.findings import Finding
from oarlock_api.zoo import BUILT_IN_MODELS


@dataclass(frozen=True, kw_only=True, slots=True)
class Unsupported:
    """One field, or some values of it, that nothing acts on yet."""

    path: str
    """Dotted path below the object: `spec.recipe.ema`."""
    remedy: str
    """What to do instead."""
    refuses: Callable[[Any], bool] = lambda _value: True
    """Whether this value is refused; by default, any."""


def _other_than(*supported: Any) -> Callable[[Any], bool]:
    return lambda value: value not in supported


_LEAVE_OUT = "leave it out"
_NOT_SUPPORTED = "is not supported yet"
_NOT_BUILT_IN = "must be a built-in model"
RULES = frozenset({_NOT_SUPPORTED, _NOT_BUILT_IN})
"""What this module says of a value; it matters only where the value is one at all."""

DATASET: tuple[Unsupported, ...] = (
    Unsupported(path="spec.task", refuses=lambda value: value == "tabular", remedy="use another task"),
    Unsupported(path="spec.source.http", remedy="put the files on a volume"),
    Unsupported(path="spec.source.s3", remedy="put the files on a volume"),
    Unsupported(path="spec.layout.dicom", remedy="use another layout"),
    Unsupported(path="spec.tabular", remedy=_LEAVE_OUT),
    Unsupported(
        path="spec.image.resize", refuses=_other_than("squash", "crop", "fill"), remedy="use squash, crop or fill"
    ),
    Unsupported(path="spec.image.encoding", refuses=_other_than("raw"), remedy="use raw"),
)


def find_unsupported(table: tuple[Unsupported, ...], manifest: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield a finding for each field in `manifest` that nothing acts on yet."""
    for row in table:
        value = _look_up(manifest, row.path)
        if value is not None and row.refuses(value):
            yield Finding(path=row.path, rule=_NOT_SUPPORTED, found=_show(value), remedy=row.remedy)


def find_unknown_model(manifest: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield a finding if the job names a built-in model that does not exist."""
    name = _look_up(manifest, "spec.model.name")
    if isinstance(name, str) and name not in BUILT_IN_MODELS:
        yield Finding(
            path="spec.model.name",
            rule=_NOT_BUILT_IN,
            found=repr(name),
            remedy=f"{_guess(name)}use one of {', '.join(BUILT_IN_MODELS)}",
        )


def _guess(name: str) -> str:
    close = difflib.get_close_matches(name.lower().replace("_", "-"), BUILT_IN_MODELS, n=1)
    return f"did you mean {close[0]}? Otherwise " if close else ""


def _look_up(manifest: Any, path: str) -> Any:
    for key in path.split("."):
        if not isinstance(manifest, Mapping):
            return None
        manifest = manifest.get(key)
    return manifest


def _show(value: Any) -> str:
    return "" if isinstance(value, Mapping | list) else repr(value)
