"""Volumes for a control plane without storage: a folder, and a PersistentVolume that points at it, for each claim.

Claims without a class are served as well as those of a StorageClass that names `PROVISIONER`; with WaitForFirstConsumer only
once the scheduler has chosen a node.
"""

import asyncio
import shutil
from pathlib import Path
from typing import Any

from kube_node.raw_api import RawApi, RefusedRequestError

PROVISIONER = "oarlock.test/folder"

_CLAIMS, _VOLUMES = "/api/v1/persistentvolumeclaims", "/api/v1/persistentvolumes"
_SELECTED_NODE = "volume.kubernetes.io/selected-node"
_PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"

Object = dict[str, Any]


class FolderProvisioner:
    """Serves claims, and removes what released claims held."""

    def __init__(self, api: RawApi, folder: Path) -> None:
        self._api, self._folder = api, folder

    async def run(self) -> None:
        await asyncio.gather(self._serve_claims(), self._reclaim_volumes())

    async def _serve_claims(self) -> None:
        async for kind, found in self._api.watch(_CLAIMS):
            for claim in found if kind == "LISTED" else [found] if kind in ("ADDED", "MODIFIED") else []:
                if claim["status"].get("phase") == "Pending" and await self._is_due(claim):
                    await self._create_volume(claim)

    async def _is_due(self, claim: Object) -> bool:
        name = claim["spec"].get("storageClassName")
        if not name:
            return True
        storage_class = await self._api.find(f"/apis/storage.k8s.io/v1/storageclasses/{name}")
        if storage_class is None or storage_class["provisioner"] != PROVISIONER:
            return False
        waits = storage_class.get("volumeBindingMode") == "WaitForFirstConsumer"
        return not waits or _SELECTED_NODE in claim["metadata"].get("annotations", {})

    async def _create_volume(self, claim: Object) -> None:
        metadata, spec = claim["metadata"], claim["spec"]
        folder = self._folder / metadata["namespace"] / f"{metadata['name']}-{metadata['uid'][:8]}"
        folder.mkdir(parents=True, exist_ok=True)
        reference = {key: metadata[key] for key in ("namespace", "name", "uid")}
        volume = {
            "metadata": {"name": f"pvc-{metadata['uid']}", "annotations": {_PROVISIONED_BY: PROVISIONER}},
            "spec": {
                "capacity": {"storage": spec["resources"]["requests"]["storage"]},
                "accessModes": spec["accessModes"],
                "persistentVolumeReclaimPolicy": "Delete",
                "storageClassName": spec.get("storageClassName", ""),
                "hostPath": {"path": str(folder)},
                "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **reference},
            },
        }
        try:
            await self._api.ask("POST", _VOLUMES, volume)
        except RefusedRequestError as error:
            if error.status != 409:  # served already
                raise

    async def _reclaim_volumes(self) -> None:
        async for kind, found in self._api.watch(_VOLUMES):
            for volume in found if kind == "LISTED" else [found] if kind in ("ADDED", "MODIFIED") else []:
                ours = volume["metadata"].get("annotations", {}).get(_PROVISIONED_BY) == PROVISIONER
                if ours and volume["status"].get("phase") == "Released":
                    shutil.rmtree(volume["spec"]["hostPath"]["path"], ignore_errors=True)
                    await self._delete(f"{_VOLUMES}/{volume['metadata']['name']}")

    async def _delete(self, path: str) -> None:
        try:
            await self._api.ask("DELETE", path)
        except RefusedRequestError as error:
            if error.status != 404:
                raise
