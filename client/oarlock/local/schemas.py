"""What an API server does with a manifest before it stores it: the generated schema's defaults, pruning and refusals. Pure."""

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema

from oarlock_api import rules
from oarlock_api.crd import dataset_crd, training_job_crd
from oarlock_api.structural_schema import apply_defaults
from oarlock_api.v1alpha1 import GROUP, VERSION

Object = dict[str, Any]

CUSTOM_KINDS: Mapping[str, Any] = {"Dataset": dataset_crd, "TrainingJob": training_job_crd}
CORE_KINDS = frozenset({"Pod", "Service", "PersistentVolumeClaim", "ConfigMap", "Node", "Event"})
API_VERSION = f"{GROUP}/{VERSION}"

_RULES = {"Dataset": rules.DATASET_RULES, "TrainingJob": rules.TRAINING_JOB_RULES}
_PRESERVE = "x-kubernetes-preserve-unknown-fields"


def admit(manifest: Object) -> Object:
    """Return a manifest of a custom kind as an API server would store it: pruned, with defaults."""
    schema = _schema(manifest["kind"])
    pruned = {**prune(schema, manifest), "metadata": manifest["metadata"]}
    admitted: Object = apply_defaults(schema, pruned)
    return admitted


def find_refusals(manifest: Object) -> list[str]:
    """Return everything for which an API server would refuse a manifest of any kind."""
    kind = manifest.get("kind")
    if kind in CUSTOM_KINDS:
        return [
            *_find_wrong_version(manifest, API_VERSION),
            *_find_schema_errors(manifest),
            *_find_broken_rules(manifest),
        ]
    return [*_find_wrong_version(manifest, "v1"), *_find_core_errors(manifest)]


def prune(schema: Mapping[str, Any], value: Any) -> Any:
    """Return a value without the fields that its schema does not name."""
    if isinstance(value, Mapping):
        if schema.get(_PRESERVE):
            return dict(value)
        named, others = schema.get("properties", {}), schema.get("additionalProperties")
        return {
            key: prune(named.get(key, others), part)
            for key, part in value.items()
            if key in named or others is not None
        }
    if isinstance(value, list):
        return [prune(schema.get("items", {_PRESERVE: True}), part) for part in value]
    return value


@functools.cache
def _schema(kind: str) -> Mapping[str, Any]:
    schema: Mapping[str, Any] = CUSTOM_KINDS[kind]()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


@functools.cache
def _validator(kind: str) -> jsonschema.Draft4Validator:
    # OpenAPI 3.0, in which CRDs are written, spells exclusive bounds as draft 4 does.
    return jsonschema.Draft4Validator(_schema(kind))


def _find_schema_errors(manifest: Object) -> Iterator[str]:
    for error in _validator(manifest["kind"]).iter_errors(manifest):
        yield f"{error.json_path.removeprefix('$.')}: {error.message}"


def _find_broken_rules(manifest: Object) -> Iterator[str]:
    try:
        yield from map(str, rules.find_broken_rules(_RULES[manifest["kind"]], manifest))
    except (TypeError, AttributeError):
        return  # of the wrong shape, which the schema refuses


def _find_wrong_version(manifest: Object, version: str) -> Iterator[str]:
    if manifest.get("apiVersion") != version:
        yield f"apiVersion: must be {version} for a {manifest.get('kind')}, got {manifest.get('apiVersion')!r}"


def _find_core_errors(manifest: Object) -> Iterator[str]:
    if manifest["kind"] not in CORE_KINDS:
        yield f"kind: {manifest['kind']!r} is not known here"
    if manifest["kind"] == "Pod":
        containers = manifest.get("spec", {}).get("containers") or []
        if not containers:
            yield "spec.containers: at least one is required"
        yield from (f"spec.containers[{i}].name: is required" for i, c in enumerate(containers) if not c.get("name"))
