"""The CustomResourceDefinitions, made from the models. Pure; `oarlock_api.generate` writes them to files."""

from collections.abc import Mapping
from typing import Any

from oarlock_api import rules
from oarlock_api.run import content_hash
from oarlock_api.structural_schema import Schema, add_rules, structural_schema
from oarlock_api.v1alpha1 import GROUP, VERSION, DatasetSpec, DatasetStatus, TrainingJobSpec, TrainingJobStatus
from oarlock_api.v1alpha1.training_job import Workers
from oarlock_api.v1alpha1.values import OBJECT_NAME_MAX_LENGTH, OBJECT_NAME_PATTERN
from oarlock_api.wire import WireModel

SCHEMA_HASH_ANNOTATION = "oarlock.dev/schema-hash"
"""By it the operator recognises a CRD that is older than itself, in which fields of the status would be lost silently."""

_FROZEN_FIELDS = ("dataset", "model", "recipe", "script", "code", "workers", "checkpoints")


def dataset_crd() -> dict[str, Any]:
    """Return the CustomResourceDefinition of Dataset."""
    return _definition(
        kind="Dataset",
        plural="datasets",
        short_name="dset",
        schema=_object_schema(
            DatasetSpec, DatasetStatus, rules.DATASET_RULES, "Data, imported once, to train on many times."
        ),
        subresources={"status": {}},
        columns=[
            _column("Phase", ".status.phase"),
            _column("Progress", ".status.progress.percent", kind="integer", description="Percent imported."),
            _column("Samples", ".status.samples", kind="integer"),
            _column("Classes", ".status.classCount", kind="integer"),
            _column("Rejected", ".status.rejected", kind="integer", priority=1),
            _column("Version", ".status.version", priority=1),
            _column("Reason", ".status.reason", priority=1),
            _column("Age", ".metadata.creationTimestamp", kind="date"),
        ],
    )


def training_job_crd() -> dict[str, Any]:
    """Return the CustomResourceDefinition of TrainingJob."""
    schema = _object_schema(
        TrainingJobSpec, TrainingJobStatus, rules.TRAINING_JOB_RULES, "A model to train on a Dataset."
    )
    schema["x-kubernetes-validations"] = [_frozen_rule(field) for field in _FROZEN_FIELDS]
    return _definition(
        kind="TrainingJob",
        plural="trainingjobs",
        short_name="tj",
        schema=schema,
        subresources={
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.workers.nodes",
                "statusReplicasPath": ".status.nodes",
                "labelSelectorPath": ".status.selector",
            },
        },
        columns=[
            _column("Phase", ".status.phase"),
            _column("Reason", ".status.reason"),
            _column("Progress", ".status.progress.percent", kind="integer", description="Percent of the steps."),
            _column("ETA", ".status.progress.etaSeconds", kind="integer", description="Seconds to the last step."),
            _column(
                "Metric", ".status.progress.metric", description="Latest value of the metric that ranks checkpoints."
            ),
            _column("Restarts", ".status.restartCount", kind="integer"),
            _column(
                "Goodput",
                ".status.goodput.percent",
                kind="integer",
                description="Percent of the time that became training.",
                priority=1,
            ),
            _column("Message", ".status.message", priority=1),
            _column("Age", ".metadata.creationTimestamp", kind="date"),
        ],
    )


def _object_schema(
    spec: type[WireModel], status: type[WireModel], table: tuple[rules.Rule, ...], description: str
) -> Schema:
    spec_schema = structural_schema(spec)
    add_rules(spec_schema, table, below="spec")
    return {
        "type": "object",
        "description": description,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "maxLength": OBJECT_NAME_MAX_LENGTH, "pattern": OBJECT_NAME_PATTERN}
                },
            },
            "spec": spec_schema,
            "status": structural_schema(status, with_defaults=False),
        },
    }


def _frozen_rule(field: str) -> dict[str, str]:
    """Hold a part of the spec once the job is accepted; before that a mistake may be mended in place."""
    both = f"has(self.spec.{field}) && has(oldSelf.spec.{field})"
    neither = f"!has(self.spec.{field}) && !has(oldSelf.spec.{field})"
    equal = _equal_but_for_size() if field == "workers" else f"self.spec.{field} == oldSelf.spec.{field}"
    return {
        "rule": f"!has(oldSelf.status) || !has(oldSelf.status.run) || ({both} && {equal}) || ({neither})",
        "message": f"spec.{field} is frozen since the job was accepted: apply the new spec under another name",
    }


def _equal_but_for_size() -> str:
    """Hold all of the workers, but for the number of nodes of an elastic job: `kubectl scale` changes that.

    Field by field, and each only once: what a rule may cost is bounded.
    """
    new, old = "self.spec.workers", "oldSelf.spec.workers"
    fields = sorted(str(field.alias) for field in Workers.model_fields.values())
    same = {
        each: f"has({new}.{each}) == has({old}.{each}) && (!has({new}.{each}) || {new}.{each} == {old}.{each})"
        for each in fields
    }
    same["nodes"] = f"(has({old}.elastic) || ({same['nodes']}))"
    return f"({' && '.join(same.values())})"


def _definition(
    *,
    kind: str,
    plural: str,
    short_name: str,
    schema: Schema,
    subresources: Mapping[str, Any],
    columns: list[dict[str, Any]],
) -> dict[str, Any]:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{GROUP}",
            "annotations": {SCHEMA_HASH_ANNOTATION: content_hash(schema)},
            "labels": {"app.kubernetes.io/name": "oarlock", "app.kubernetes.io/part-of": "oarlock"},
        },
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [short_name],
                "categories": ["oarlock"],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": dict(subresources),
                    "additionalPrinterColumns": columns,
                }
            ],
        },
    }


def _column(name: str, path: str, *, kind: str = "string", description: str = "", priority: int = 0) -> dict[str, Any]:
    column: dict[str, Any] = {"name": name, "type": kind, "jsonPath": path}
    if description:
        column["description"] = description
    if priority:
        column["priority"] = priority
    return column
