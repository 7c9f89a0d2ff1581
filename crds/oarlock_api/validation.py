"""Checks manifests: models, cross-field rules and the support table, all findings at once. Pure."""

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, TypeVar

import pydantic
from pydantic_core import ErrorDetails

from oarlock_api import rules, support
from oarlock_api.findings import Finding
from oarlock_api.script_rules import find_idle_recipe
from oarlock_api.v1alpha1.dataset import DatasetSpec
from oarlock_api.v1alpha1.training_job import TrainingJobSpec
from oarlock_api.v1alpha1.values import OBJECT_NAME_MAX_LENGTH, OBJECT_NAME_PATTERN
from oarlock_api.wire import WireModel

M = TypeVar("M", bound=WireModel)
_MAX_SHOWN = 80


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked(Generic[M]):
    """The outcome of a check: a model, or what stands in its way."""

    model: M | None
    """Set if there is no finding."""
    findings: tuple[Finding, ...] = ()


def validate_training_job(spec: Mapping[str, Any], *, name: str) -> Checked[TrainingJobSpec]:
    """Check the spec of a TrainingJob as a user wrote it."""
    manifest = {"spec": spec}
    beyond = [
        *rules.find_broken_rules(rules.TRAINING_JOB_RULES, manifest),
        *support.find_unknown_model(manifest),
        *find_idle_recipe(manifest),
    ]
    return _check(TrainingJobSpec, spec, name=name, beyond=beyond)


def recall_training_job(spec: Mapping[str, Any], *, name: str) -> Checked[TrainingJobSpec]:
    """Check the spec of a TrainingJob that came as JSON: one that was checked lately, for whatever job, is not checked again."""
    if any(find_bad_name(name)):
        return validate_training_job(spec, name=name)
    return _validate_text(json.dumps(spec))


@lru_cache(maxsize=1024)
def _validate_text(text: str) -> Checked[TrainingJobSpec]:
    return validate_training_job(json.loads(text), name="any")


def validate_dataset(spec: Mapping[str, Any], *, name: str) -> Checked[DatasetSpec]:
    """Check the spec of a Dataset as a user wrote it."""
    manifest = {"spec": spec}
    beyond = [
        *rules.find_broken_rules(rules.DATASET_RULES, manifest),
        *support.find_unsupported(support.DATASET, manifest),
    ]
    return _check(DatasetSpec, spec, name=name, beyond=beyond)


def _check(kind: type[M], spec: Mapping[str, Any], *, name: str, beyond: Sequence[Finding]) -> Checked[M]:
    findings = [*find_bad_name(name)]
    model: M | None = None
    try:
        model = kind.from_wire(spec)
    except pydantic.ValidationError as error:
        findings += [_describe(details, kind) for details in error.errors(include_url=False)]
    # A value of the wrong type is not "not supported yet" as well.
    wrong = {finding.path for finding in findings}
    findings += [finding for finding in beyond if finding.path not in wrong or finding.rule not in support.RULES]
    return Checked(model=None if findings else model, findings=tuple(_without_repeats(findings)))


def find_bad_name(name: str) -> Iterator[Finding]:
    """Yield a finding if an object of Oarlock's cannot be called `name`."""
    if len(name) > OBJECT_NAME_MAX_LENGTH:
        yield Finding(
            path="metadata.name",
            rule=f"must have at most {OBJECT_NAME_MAX_LENGTH} characters",
            found=f"{len(name)}",
            remedy="shorten it: pods and services are named after it",
        )
    if not re.fullmatch(OBJECT_NAME_PATTERN, name):
        yield Finding(
            path="metadata.name",
            rule="must begin with a lower-case letter and hold lower-case letters, digits and '-'",
            found=repr(name[:_MAX_SHOWN]),
            remedy="rename it",
        )


def _without_repeats(findings: Sequence[Finding]) -> Iterator[Finding]:
    seen: set[tuple[str, str]] = set()
    for finding in findings:
        if (finding.path, finding.rule) not in seen:
            seen.add((finding.path, finding.rule))
            yield finding


def _describe(details: ErrorDetails, kind: type[WireModel]) -> Finding:
    path = _path(details["loc"])
    match details["type"]:
        case "extra_forbidden":
            return _unknown_field(path, str(details["loc"][-1]), _fields_at(kind, details["loc"][:-1]))
        case "missing":
            return Finding(path=path, rule="is required", remedy="add it")
        case "enum":
            return _unknown_value(path, details)
        case "model_type" | "model_attributes_type" | "dict_type":
            return Finding(
                path=path, rule="must be an object", found=_show(details["input"]), remedy="indent its fields below it"
            )
    return Finding(path=path, rule=_rule(details), found=_show(details["input"]), remedy=_remedy(details))


_RULES = {
    "string_type": "must be a text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} items",
    "too_long": "must have at most {max_length} items",
    "string_pattern_mismatch": "must match {pattern}",
}


def _rule(details: ErrorDetails) -> str:
    template = _RULES.get(details["type"])
    return template.format(**details.get("ctx", {})) if template else details["msg"].lower()


_REMEDIES = {
    "string_type": "put it in quotes",
    "int_type": "write a whole number, without quotes",
    "int_parsing": "write a whole number, without quotes",
    "int_from_float": "write a whole number",
    "float_type": "write a number, without quotes",
    "float_parsing": "write a number, without quotes",
    "finite_number": "write a finite number",
    "bool_type": "write true or false, without quotes",
    "bool_parsing": "write true or false, without quotes",
    "list_type": "write it as [a, b], or one item a line behind a dash",
    "greater_than": "raise it",
    "greater_than_equal": "raise it",
    "less_than": "lower it",
    "less_than_equal": "lower it",
    "string_too_short": "write it out",
    "string_too_long": "shorten it",
    "too_short": "add what is missing",
    "too_long": "remove some",
    "string_pattern_mismatch": "use only what the pattern allows",
}


def _remedy(details: ErrorDetails) -> str:
    return _REMEDIES.get(details["type"], "change it to what `kubectl explain` or the API reference says")


def _unknown_field(path: str, name: str, known: Sequence[str]) -> Finding:
    return Finding(path=path, rule="is not a field", remedy=_nearest(name, known))


def _unknown_value(path: str, details: ErrorDetails) -> Finding:
    expected = str(details.get("ctx", {}).get("expected", ""))
    values = re.findall(r"'([^']+)'", expected)
    return Finding(
        path=path,
        rule=f"must be one of {', '.join(values)}",
        found=_show(details["input"]),
        remedy=_nearest(str(details["input"]), values, otherwise="write one of these"),
    )


def _nearest(name: str, known: Sequence[str], *, otherwise: str | None = None) -> str:
    lowered = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(name.lower().replace("_", ""), lowered, n=1)
    if close:
        return f"did you mean {lowered[close[0]]}?"
    if otherwise is not None:
        return otherwise
    return f"the fields here are {', '.join(known)}" if known else "remove it"


def _fields_at(kind: type[WireModel], location: Sequence[int | str]) -> list[str]:
    """Return the field names of the model to which an error's location leads."""
    current: Any = kind
    for key in location:
        if isinstance(key, int):
            continue
        models = _models_in(current)
        fields = {field.alias or name: field for model in models for name, field in model.model_fields.items()}
        if key not in fields:
            return []
        current = fields[str(key)].annotation
    return [field.alias or name for model in _models_in(current) for name, field in model.model_fields.items()]


def _models_in(annotation: Any) -> list[type[WireModel]]:
    if isinstance(annotation, type) and issubclass(annotation, WireModel):
        return [annotation]
    return [model for argument in getattr(annotation, "__args__", ()) for model in _models_in(argument)]


def _path(location: Sequence[int | str]) -> str:
    path = "spec"
    for key in location:
        path += f"[{key}]" if isinstance(key, int) else f".{key}"
    return path


def _show(value: Any) -> str:
    text = repr(value) if isinstance(value, str | int | float | bool | None) else f"{type(value).__name__} {value!r}"
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…"
