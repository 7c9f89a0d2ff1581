"""PersistentVolumeClaims for data sets and checkpoints. Pure.

A claim is found again by its label when an object of the same name is applied again. It has an owner only if the user asked
for its deletion: `retain: Retain` must survive `kubectl delete` and `helm uninstall` alike.
"""

from collections.abc import Sequence

from oarlock_api.v1alpha1.volumes import RetainPolicy
from oarlock_operator.manifests.metadata import Manifest, Owner, build_labels, build_owner_reference, without_empty


def build_claim(
    name: str,
    *,
    owner: Owner,
    component: str,
    size: str,
    storage_class: str | None,
    access_modes: Sequence[str],
    retain: RetainPolicy,
) -> Manifest:
    """Return the claim to create for a Dataset's data or a job's checkpoints."""
    references = [build_owner_reference(owner)] if retain is RetainPolicy.DELETE else []
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": without_empty(
            {
                "name": name,
                "namespace": owner.namespace,
                "labels": build_labels(owner, component=component),
                "ownerReferences": references,
            }
        ),
        "spec": without_empty(
            {
                "accessModes": list(access_modes),
                "storageClassName": storage_class,
                "resources": {"requests": {"storage": size}},
            }
        ),
    }
