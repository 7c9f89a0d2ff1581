"""What goes when something is deleted: dependents whose owners are gone, and claims that were only kept because of pods. Pure."""

from collections.abc import Iterable, Iterator
from typing import Any

Object = dict[str, Any]

PROTECTION_FINALIZER = "kubernetes.io/pvc-protection"
"""Keeps a claim that is being deleted until no pod uses it any more."""


def find_orphans(objects: Iterable[Object]) -> Iterator[Object]:
    """Yield the objects that had owners and have none left, by UID: an owner of the same name is another owner."""
    objects = list(objects)
    living = {item["metadata"]["uid"] for item in objects}
    for item in objects:
        owners = item["metadata"].get("ownerReferences") or ()
        if owners and not any(owner["uid"] in living for owner in owners):
            yield item


def find_released_claims(objects: Iterable[Object]) -> Iterator[Object]:
    """Yield the claims that are being deleted, protected, and used by no pod that may still run."""
    objects = list(objects)
    used = {key for item in objects if item["kind"] == "Pod" for key in _claims_in_use(item)}
    for item in objects:
        metadata = item["metadata"]
        protected = item["kind"] == "PersistentVolumeClaim" and PROTECTION_FINALIZER in metadata.get("finalizers", ())
        if protected and metadata.get("deletionTimestamp") and (metadata["namespace"], metadata["name"]) not in used:
            yield item


def _claims_in_use(pod: Object) -> Iterator[tuple[str, str]]:
    if pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return
    for volume in pod["spec"].get("volumes", ()):
        if claim := volume.get("persistentVolumeClaim"):
            yield pod["metadata"]["namespace"], claim["claimName"]
