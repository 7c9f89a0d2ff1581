"""Volumes of a pod and where they appear in it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from oarlock_api.contract import SCRATCH_MOUNT
from oarlock_api.v1alpha1.pod_template import ExtraVolume, PodTemplate
from oarlock_operator.manifests.metadata import Manifest, without_empty


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimMount:
    """A claim, and where the pod sees it."""

    claim: str
    path: str
    read_only: bool


_FOLDERS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("oarlock-scratch", SCRATCH_MOUNT, {}),
    ("oarlock-tmp", "/tmp", {}),  # noqa: S108  # the root file system is read-only, and much code writes here
    ("oarlock-shm", "/dev/shm", {"medium": "Memory"}),  # noqa: S108  # the default of 64 MiB is too small for NCCL
)
"""Folders that live as long as the pod: name, path, kind."""


def build_volumes(mounts: Sequence[ClaimMount], template: PodTemplate) -> list[Manifest]:
    """Return the volumes: one a claim, even if it appears twice, since some drivers cannot attach one twice to a pod."""
    return [
        *(
            {"name": _volume_name(claim, mounts), "persistentVolumeClaim": {"claimName": claim}}
            for claim in dict.fromkeys(mount.claim for mount in mounts)
        ),
        *({"name": name, "emptyDir": kind} for name, _path, kind in _own_folders(template)),
        *(_build_extra_volume(volume) for volume in template.volumes or ()),
    ]


def build_volume_mounts(mounts: Sequence[ClaimMount], template: PodTemplate) -> list[Manifest]:
    """Return where the volumes appear in the container."""
    return [
        *(
            {"name": _volume_name(mount.claim, mounts), "mountPath": mount.path, "readOnly": mount.read_only}
            for mount in mounts
        ),
        *({"name": name, "mountPath": path} for name, path, _kind in _own_folders(template)),
        *(
            {"name": volume.name, "mountPath": volume.mount_path, "readOnly": volume.read_only}
            for volume in template.volumes or ()
        ),
    ]


def _own_folders(template: PodTemplate) -> list[tuple[str, str, dict[str, str]]]:
    """Return our folders, without one in whose place the user has a volume."""
    taken = {volume.mount_path.rstrip("/") for volume in template.volumes or ()}
    return [folder for folder in _FOLDERS if folder[1] not in taken]


def _volume_name(claim: str, mounts: Sequence[ClaimMount]) -> str:
    claims = list(dict.fromkeys(mount.claim for mount in mounts))
    return f"oarlock-claim-{claims.index(claim)}"


def _build_extra_volume(volume: ExtraVolume) -> Manifest:
    if volume.claim:
        return {"name": volume.name, "persistentVolumeClaim": {"claimName": volume.claim}}
    if volume.config_map:
        return {"name": volume.name, "configMap": {"name": volume.config_map}}
    if volume.secret:
        return {"name": volume.name, "secret": {"secretName": volume.secret}}
    size_limit = volume.empty_dir.size_limit if volume.empty_dir else None
    return {"name": volume.name, "emptyDir": without_empty({"sizeLimit": size_limit})}
