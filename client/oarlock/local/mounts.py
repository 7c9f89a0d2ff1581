"""The volumes of a pod as folders of this machine: emptyDir and ConfigMaps in the pod's own folder, claims where they are bound.

Nothing is really mounted: the node translates the paths in the pod's variables (`environment.translate_paths`).
"""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

SHARED_MEMORY = "/dev/shm"  # noqa: S108  # the pod's mount of it, not a temporary file
TERMINATION_FILE = "termination-log"
_KERNELS = (Path("/dev"), Path("/proc"), Path("/sys"))
_TEMPORARY = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108  # where programs put files of their own accord

FindClaim = Callable[[str], Awaitable[Path | None]]
"""Returns the folder of a claim, or None while it is not bound."""
ReadFiles = Callable[[str], Awaitable[Mapping[str, str] | None]]
"""Returns the files of a ConfigMap, or None while it is not there."""


class UnsupportedVolumeError(Exception):
    """The pod has a volume that a machine without containers cannot give it."""


async def prepare_mounts(
    pod: Mapping[str, Any],
    container: Mapping[str, Any],
    *,
    folder: Path,
    find_claim: FindClaim,
    read_files: ReadFiles,
) -> dict[str, Path] | None:
    """Return folders by the path at which the pod sees them; None while a claim is not bound.

    Raises:
        UnsupportedVolumeError: names the volume and its kind.
    """
    volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", ())}
    mounts = {container.get("terminationMessagePath", "/dev/termination-log"): folder / TERMINATION_FILE}
    for mount in container.get("volumeMounts", ()):
        path = mount["mountPath"].rstrip("/") or "/"
        if path == SHARED_MEMORY:
            continue  # the machine's own is at the same place
        source = await _find_folder(volumes.get(mount["name"], {}), folder, find_claim, read_files)
        if source is None:
            return None
        mounts[path] = _enter(source, mount.get("subPath", ""))
    return mounts


def list_writable(container: Mapping[str, Any], mounts: Mapping[str, Path], *, folder: Path) -> list[Path] | None:
    """Return what a container with a read-only root file system may write to; None if its root is not read-only.

    Devices and the kernel's own file systems are no files of anybody's. A pod that mounts /tmp may use the machine's, which
    programs write to whatever TMPDIR says.
    """
    if not container.get("securityContext", {}).get("readOnlyRootFilesystem"):
        return None
    read_only = {mount["mountPath"].rstrip("/") for mount in container.get("volumeMounts", ()) if mount.get("readOnly")}
    volumes = [path for mount, path in mounts.items() if mount not in read_only]
    return [folder, *volumes, *_KERNELS, *(_TEMPORARY if "/tmp" in mounts else ())]  # noqa: S108  # the pod's mount


async def _find_folder(
    volume: Mapping[str, Any], folder: Path, find_claim: FindClaim, read_files: ReadFiles
) -> Path | None:
    if claim := volume.get("persistentVolumeClaim"):
        return await find_claim(str(claim["claimName"]))
    if "emptyDir" in volume:
        empty = folder / str(volume["name"])
        empty.mkdir(parents=True, exist_ok=True)
        return empty
    if config_map := volume.get("configMap"):
        files = await read_files(str(config_map["name"]))
        return None if files is None else _write_files(folder / str(volume["name"]), files)
    kind = next((key for key in volume if key != "name"), "nothing")
    name = volume.get("name", "?")
    raise UnsupportedVolumeError(
        f"the volume {name} is a {kind}; on one machine there are claims, ConfigMaps and emptyDir only"
    )


def _write_files(folder: Path, files: Mapping[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        if "/" in name or name in (".", ".."):
            raise UnsupportedVolumeError(f"the key of a ConfigMap must be a file name, got {name!r}")
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def _enter(folder: Path, inside: str) -> Path:
    if ".." in PurePosixPath(inside).parts or inside.startswith("/"):
        raise UnsupportedVolumeError(f"subPath must stay inside its volume, got {inside!r}")
    if not inside:
        return folder
    (folder / inside).mkdir(parents=True, exist_ok=True)
    return folder / inside
