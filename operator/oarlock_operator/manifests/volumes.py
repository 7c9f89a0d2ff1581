"""Volumes of a pod and where they appear in it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from oarlock_api.contract import SCRATCH_MOUNT
from oarlock_api.v1alpha1.pod_template import ExtraVolume, PodTemplate
from oarlock_operator.manifests.metadata import Manifest, without_empty

_SHARED_MEMORY = "/dev/shm"  # noqa: S108  # a mount of the pod's own
_TEMPORARY = "/tmp"  # noqa: S108  # likewise


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimMount:
    """A claim, and where the pod sees it."""

    claim: str
    path: str
    read_only: bool


def build_volumes(mounts: Sequence[ClaimMount], template: PodTemplate) -> list[Manifest]:
    """Return the volumes: one a claim, even if it appears twice, since some drivers cannot attach one twice to a pod."""
    return [
        *(
            {"name": _volume_name(claim, mounts), "persistentVolumeClaim": {"claimName": claim}}
            for claim in dict.fromkeys(mount.claim for mount in mounts)
        ),
        {"name": "oarlock-scratch", "emptyDir": {}},
        {"name": "oarlock-tmp", "emptyDir": {}},
        {"name": "oarlock-shm", "emptyDir": {"medium": "Memory"}},
        *(_build_extra_volume(volume) for volume in _extra_volumes(template)),
    ]


def build_volume_mounts(mounts: Sequence[ClaimMount], template: PodTemplate) -> list[Manifest]:
    """Return where the volumes appear in the container. The root file system is read-only, so /tmp is a volume too."""
    return [
        *(
            {"name": _volume_name(mount.claim, mounts), "mountPath": mount.path, "readOnly": mount.read_only}
            for mount in mounts
        ),
        {"name": "oarlock-scratch", "mountPath": SCRATCH_MOUNT},
        {"name": "oarlock-tmp", "mountPath": _TEMPORARY},
        {"name": "oarlock-shm", "mountPath": _SHARED_MEMORY},
        *(
            {"name": volume.name, "mountPath": volume.mount_path, "readOnly": volume.read_only}
            for volume in _extra_volumes(template)
        ),
    ]


def _volume_name(claim: str, mounts: Sequence[ClaimMount]) -> str:
    claims = list(dict.fromkeys(mount.claim for mount in mounts))
    return f"oarlock-claim-{claims.index(claim)}"


def _extra_volumes(template: PodTemplate) -> Sequence[ExtraVolume]:
    return template.volumes or ()


def _build_extra_volume(volume: ExtraVolume) -> Manifest:
    if volume.claim:
        return {"name": volume.name, "persistentVolumeClaim": {"claimName": volume.claim}}
    if volume.config_map:
        return {"name": volume.name, "configMap": {"name": volume.config_map}}
    if volume.secret:
        return {"name": volume.name, "secret": {"secretName": volume.secret}}
    size_limit = volume.empty_dir.size_limit if volume.empty_dir else None
    return {"name": volume.name, "emptyDir": without_empty({"sizeLimit": size_limit})}
