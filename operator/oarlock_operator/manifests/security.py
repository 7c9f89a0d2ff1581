"""What makes a pod pass the `restricted` Pod Security Standard, and keeps credentials away from it. Pure."""

from oarlock_operator.manifests.metadata import Manifest

USER_ID = 65532
"""The user and group that all pods run as: `nonroot` of the distroless images."""


def build_pod_security() -> Manifest:
    """Return the pod's security context.

    The group owns the volumes, so that a claim that an earlier pod wrote stays writable; ownership is changed only where the
    root of the volume differs, because a recursive change over millions of files takes longer than training on them.
    """
    return {
        "runAsNonRoot": True,
        "runAsUser": USER_ID,
        "runAsGroup": USER_ID,
        "fsGroup": USER_ID,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def build_container_security() -> Manifest:
    """Return the container's security context."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
    }
