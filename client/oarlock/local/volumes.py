"""Claims as folders: a claim of the local cluster is a folder of its own, or one of the user's that it names.

A folder of the user's is used where it lies, never copied and never removed.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LOCAL_FOLDER_ANNOTATION = "oarlock.dev/local-folder"
"""On a PersistentVolumeClaim: the folder of this machine that it stands for."""


class Volumes:
    """The folders behind the claims."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, claim: Mapping[str, Any]) -> Path:
        """Return the folder of a claim, whether or not it is there yet."""
        metadata = claim["metadata"]
        if own := find_user_folder(claim):
            return own
        return self._folder / str(metadata["namespace"]) / str(metadata["name"])

    def bind(self, claim: Mapping[str, Any]) -> str:
        """Make sure that the claim's folder is there; return why it cannot be bound, or nothing."""
        folder = self.find(claim)
        if find_user_folder(claim):
            return "" if folder.is_dir() else f"the folder {folder} is not there"
        folder.mkdir(parents=True, exist_ok=True)
        return ""

    def remove(self, claim: Mapping[str, Any]) -> None:
        """Remove what a deleted claim held, as a volume with the reclaim policy Delete is removed."""
        if not find_user_folder(claim):
            shutil.rmtree(self.find(claim), ignore_errors=True)


def find_user_folder(claim: Mapping[str, Any]) -> Path | None:
    """Return the user's folder that a claim stands for; None if it has one of its own."""
    path = (claim["metadata"].get("annotations") or {}).get(LOCAL_FOLDER_ANNOTATION)
    return Path(path) if path else None


def build_bound_status(claim: Mapping[str, Any]) -> dict[str, Any]:
    spec = claim["spec"]
    return {
        "phase": "Bound",
        "accessModes": spec.get("accessModes", []),
        "capacity": {"storage": spec.get("resources", {}).get("requests", {}).get("storage", "0")},
    }
