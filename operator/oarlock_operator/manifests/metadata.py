"""Metadata that all children share: labels by which they are found, and the owner with which they go. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from oarlock_api.v1alpha1 import API_VERSION
from oarlock_operator import names

Manifest = dict[str, Any]

_RESERVED_PREFIXES = ("oarlock.dev/", "app.kubernetes.io/")


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """The TrainingJob or Dataset that a child belongs to."""

    kind: str
    name: str
    namespace: str
    uid: str


def build_owner_reference(owner: Owner) -> Manifest:
    """Return the reference by which the garbage collector removes a child with its owner.

    It does not block the owner's deletion: that would need the right to write its finalizers.
    """
    return {
        "apiVersion": API_VERSION,
        "kind": owner.kind,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def build_labels(owner: Owner, *, component: str) -> dict[str, str]:
    """Return the labels of every child of `owner`."""
    kind_label = names.JOB_LABEL if owner.kind == "TrainingJob" else names.DATASET_LABEL
    return {
        names.NAME_LABEL: "oarlock",
        names.INSTANCE_LABEL: owner.name,
        names.COMPONENT_LABEL: component,
        names.MANAGED_BY_LABEL: names.MANAGED_BY,
        kind_label: owner.name,
    }


def merge_reserved(ours: Mapping[str, str], theirs: Mapping[str, str] | None) -> dict[str, str]:
    """Add a user's labels or annotations; keys under our own prefixes stay ours."""
    added = {key: value for key, value in (theirs or {}).items() if not key.startswith(_RESERVED_PREFIXES)}
    return {**ours, **added}


def without_empty(fields: Mapping[str, Any]) -> Manifest:
    """Leave out fields that say nothing, as a person would who writes the YAML."""
    return {key: value for key, value in fields.items() if value is not None and value not in ({}, [], "")}
