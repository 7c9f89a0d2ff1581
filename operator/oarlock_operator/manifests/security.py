"""What makes a pod pass the `restricted` Pod Security Standard, and keeps credentials away from it. Pure."""

from oarlock_operator.manifests.metadata import Manifest

WITHOUT_GPUS = {"NVIDIA_VISIBLE_DEVICES": "void"}
"""Variables of a pod that asked for no GPU: many images ask the runtime for all GPUs of the node by this variable."""


def build_pod_security(user: int) -> Manifest:
    """Return the pod's security context for a user that is also its group; 0: the platform assigns one, which is not root.

    The group owns the volumes, so that a claim that an earlier pod wrote stays writable; ownership is changed only where the
    root of the volume differs, because a recursive change over millions of files takes longer than training on them.
    """
    fixed = {"runAsUser": user, "runAsGroup": user, "fsGroup": user} if user else {}
    return {
        "runAsNonRoot": True,
        **fixed,
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
