"""Where a model's first weights may come from, and where its pods find them. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from oarlock_api.findings import Finding
from oarlock_api.rule import Rule, Scope, list_given
from oarlock_api.run import RunFirstWeights, RunWorkers
from oarlock_api.v1alpha1.training_job import Model
from oarlock_api.v1alpha1.volumes import AccessMode

_LIBRARIES = ("torchvision", "timm")


def _weights_twice(model: Scope) -> str | None:
    named = [
        name for name in _LIBRARIES if isinstance(part := model.get(name), Mapping) and part.get("weights") is not None
    ]
    return f"{named[0]}.weights and initFrom" if named and model.get("initFrom") is not None else None


def _choice_without_job(init_from: Scope) -> str | None:
    given = list_given(init_from, ("checkpoint", "step"))
    return " and ".join(given) if given and init_from.get("job") is None else None


def _two_choices(init_from: Scope) -> str | None:
    return "both" if list_given(init_from, ("checkpoint", "step")) == ["checkpoint", "step"] else None


MODEL_RULES: tuple[Rule, ...] = (
    Rule(
        at="spec.model.initFrom",
        cel="has(self.job) || (!has(self.checkpoint) && !has(self.step))",
        broken=_choice_without_job,
        rule="must have job for checkpoint or step to choose from",
        remedy="name the job, or drop checkpoint and step",
    ),
    Rule(
        at="spec.model.initFrom",
        cel="!has(self.checkpoint) || !has(self.step)",
        broken=_two_choices,
        rule="must not have both checkpoint and step",
        remedy="keep the one you mean",
    ),
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


def find_unshared_weights(
    earlier: EarlierJob | None, workers: RunWorkers, *, claim: str, access_modes: Mapping[str, Sequence[str]]
) -> Iterator[Finding]:
    """Yield a finding if the pods of a job could not all mount the claim that holds its first weights.

    Args:
        earlier: the job that `initFrom` names.
        workers: the pods.
        claim: the job's own claim for checkpoints, of which other rules speak.
        access_modes: access modes of existing claims, by name, as far as known.
    """
    modes = access_modes.get(earlier.claim) if earlier and earlier.claim != claim else None
    shared = {AccessMode.READ_WRITE_MANY, AccessMode.READ_ONLY_MANY}
    if earlier and modes is not None and workers.most_nodes > 1 and not shared & set(modes):
        yield Finding(
            path="spec.workers.elastic.maxNodes" if workers.elastic else "spec.workers.nodes",
            rule=f"must be 1 to begin with the weights on claim {earlier.claim}, which is {', '.join(modes)}",
            found=str(workers.most_nodes),
            remedy="put the model that the earlier job exported on a ReadWriteMany claim, name that in checkpoints.volume.claim"
            " and the file in model.initFrom.path",
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
