"""What differs between a manifest and what was accepted from it before. Pure.

What was asked for is kept beside what was applied, since the workers of a job are fitted to the machine before it is applied.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from oarlock.local.volumes import find_user_folder
from oarlock_api.findings import Finding
from oarlock_api.resolve import comparable_part, first_difference
from oarlock_api.v1alpha1 import DatasetSpec, TrainingJobSpec
from oarlock_api.v1alpha1.recipe import Loss

ASKED_ANNOTATION = "oarlock.dev/local-spec"
"""On a job of the local cluster: the spec as the manifest has it, before it was fitted to the machine."""

Object = Mapping[str, Any]


def format_asked(body: Object) -> str:
    """Return the value of the annotation for a manifest."""
    return json.dumps(_comparable(body["kind"], body["spec"]), sort_keys=True, separators=(",", ":"))


def find_change(known: Object, body: Object) -> Finding | None:
    """Return the first difference that forbids to go on with what is there; None if there is none.

    A Dataset may change until its data is Ready, and a job until it is accepted.
    """
    kind, status = body["kind"], known.get("status", {})
    if kind == "PersistentVolumeClaim":
        return _find_moved_folder(known, body)
    if kind == "ConfigMap":
        return None  # every attempt takes what is in it
    is_frozen = status.get("version") if kind == "Dataset" else status.get("run")
    if not is_frozen:
        return None
    asked = (known["metadata"].get("annotations") or {}).get(ASKED_ANNOTATION)
    before, loss = json.loads(asked) if asked else known["spec"], _read_loss(status)
    change = first_difference("spec", _comparable(kind, before, loss=loss), _comparable(kind, body["spec"], loss=loss))
    return replace(change, remedy=f"{change.remedy}, or begin anew with --fresh") if change else None


def _find_moved_folder(known: Object, body: Object) -> Finding | None:
    before, now = find_user_folder(known), find_user_folder(body)
    if before == now:
        return None
    return Finding(
        path="metadata.annotations",
        rule=f"must stand for the folder {before}, as it did",
        found=str(now),
        remedy="name the claim differently",
    )


def _comparable(kind: str, spec: Object, *, loss: Loss | None = None) -> dict[str, Any]:
    """Return a spec in the one form that equal specs have, whichever version wrote it down."""
    if kind == "TrainingJob":
        return comparable_part(TrainingJobSpec.from_wire(spec), loss=loss)
    return DatasetSpec.from_wire(spec).to_wire() if kind == "Dataset" else dict(spec)


def _read_loss(status: Object) -> Loss | None:
    """Return the loss with which a job was accepted, if it was and has one."""
    recipe = (status.get("run") or {}).get("recipe") or {}
    return Loss.from_wire(recipe["loss"]) if recipe.get("loss") else None
