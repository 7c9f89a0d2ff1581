"""Where a model's first weights may come from, and where its pods find them. Pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from oarlock_api.findings import Finding
from oarlock_api.rule import Rule, Scope
from oarlock_api.run import RunFirstWeights
from oarlock_api.v1alpha1.training_job import Model

_LIBRARIES = ("torchvision", "timm")


def _weights_twice(model: Scope) -> str | None:
    named = [
        name for name in _LIBRARIES if isinstance(part := model.get(name), Mapping) and part.get("weights") is not None
    ]
    return f"{named[0]}.weights and initFrom" if named and model.get("initFrom") is not None else None


MODEL_RULES: tuple[Rule, ...] = (
    Rule(
        at="spec.model",
        cel="!has(self.initFrom) || ("
        + " && ".join(f"(!has(self.{name}) || !has(self.{name}.weights))" for name in _LIBRARIES)
        + ")",
        broken=_weights_twice,
        rule="must not have pretrained weights and initFrom",
        remedy="keep the one you mean",
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class EarlierJob:
    """A finished job from whose weights another one begins."""

    uid: str
    claim: str
    """Claim that holds its checkpoints."""


def find_bad_match(model: Model) -> Iterator[Finding]:
    """Yield a finding if `initFrom.match` is no regular expression."""
    match = model.init_from.match if model.init_from else None
    try:
        re.compile(match or "")
    except (re.error, OverflowError, RecursionError) as error:
        yield Finding(
            path="spec.model.initFrom.match",
            rule="must be a regular expression of Python",
            found=f"{match!r} ({error})",
            remedy="for example backbone.*",
        )


def place_first_weights(model: Model, *, claim: str, earlier: EarlierJob | None) -> RunFirstWeights | None:
    """Return where the first weights are; None if they are random.

    Args:
        model: the model.
        claim: the job's own claim for checkpoints.
        earlier: the job that `initFrom` names.
    """
    library = model.torchvision or model.timm
    given = (library and library.weights) or (model.init_from and model.init_from.path)
    if given:
        return RunFirstWeights(claim=None if given.startswith("/") else claim, path=given)
    if model.init_from and earlier:
        return RunFirstWeights(claim=earlier.claim, path=earlier.uid)
    return None
