"""Download official programs where the network allows: etcd and the API server from the archive that controller-tools
publishes for tests, controller manager and scheduler, which it lacks, from the Kubernetes release of the same version."""

import hashlib
import platform
import shutil
import tarfile
import tempfile
import time
import urllib.request
from pathlib import Path

from control_plane import cache, progress
from control_plane.components import APISERVER, CONTROLLER_MANAGER, ETCD, SCHEDULER
from control_plane.errors import ControlPlaneError

VERSION = "1.36.2"

_ARCHIVE = "https://github.com/kubernetes-sigs/controller-tools/releases/download/envtest-v{version}/{name}"
_RELEASE = "https://dl.k8s.io/release/v{version}/bin/linux/{architecture}/{program}"
# SHA-512, from the list of releases in the repository of controller-tools.
_CHECKSUMS = {
    "amd64": "ea743186c8a799f5cf8faf16969f86189d003cb7d130e0ac4b58789f1e5748dc"
    "f30ebe91c837a10d5ac415383da3e10b9e64d65785c938c23e739781cfb76f08",
    "arm64": "2d72ee985a8e262a3c57dc9f7f0fd891f6a8c7bf7ebaa2db6dc6d8eac8ae2818"
    "1afe51c1f368b67756cdb40b10de9b205609e1726e5f27f7c6d824dd9c6649ac",
}
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_CONNECT_SECONDS = 4
_SMALL = 2**20


def download(say: progress.Say = progress.say) -> None:
    """Download into the cache. The caller holds the lock."""
    architecture = _ARCHITECTURES.get(platform.machine())
    if not architecture:
        raise ControlPlaneError(f"there is no envtest archive for {platform.machine()}")
    began = time.monotonic()
    versions = cache.find_versions_folder()
    with tempfile.TemporaryDirectory(prefix="download-", dir=versions) as scratch:
        finished = Path(scratch) / VERSION
        finished.mkdir()
        _fetch_archive(finished, architecture, say)
        _fetch_release(finished, architecture, say)
        cache.write_manifest(finished, version=VERSION, origin="envtest", seconds=time.monotonic() - began)
        cache.swap_into_place(finished, versions / VERSION)


def _fetch_archive(target: Path, architecture: str, say: progress.Say) -> None:
    name = f"envtest-v{VERSION}-linux-{architecture}.tar.gz"
    archive = target / name
    try:
        _fetch(_ARCHIVE.format(version=VERSION, name=name), archive, say)
    except OSError as error:
        raise ControlPlaneError(f"the official envtest archive is out of reach from here ({error})") from error
    if hashlib.sha512(archive.read_bytes()).hexdigest() != _CHECKSUMS[architecture]:
        raise ControlPlaneError(f"{name} has another checksum than the published one; something changed it on the way")
    unpack_programs(archive, target)
    archive.unlink()


def unpack_programs(archive: Path, target: Path) -> None:
    """Take etcd and the API server out of the archive, from whatever folder they are in there."""
    with tarfile.open(archive) as members:
        for member in members:
            if member.isfile() and Path(member.name).name in {ETCD, APISERVER}:
                member.name = Path(member.name).name
                members.extract(member, target, filter="data")


def _fetch_release(target: Path, architecture: str, say: progress.Say) -> None:
    for program in (CONTROLLER_MANAGER, SCHEDULER):
        url = _RELEASE.format(version=VERSION, architecture=architecture, program=program)
        try:
            _fetch(url, target / program, say)
            _fetch(f"{url}.sha256", target / "checksum", say)
        except OSError as error:
            (target / program).unlink(missing_ok=True)
            say(f"{program} {VERSION} is out of reach from here ({error}); going on without it")
            continue
        _check_program(target / program, (target / "checksum").read_text().split()[0])


def _check_program(program: Path, checksum: str) -> None:
    if hashlib.sha256(program.read_bytes()).hexdigest() != checksum:
        raise ControlPlaneError(f"{program.name} {VERSION} has another checksum than the published one")
    program.chmod(0o755)


def _fetch(url: str, target: Path, say: progress.Say) -> None:
    with urllib.request.urlopen(url, timeout=_CONNECT_SECONDS) as answer, target.open("wb") as file:
        size = int(answer.headers.get("Content-Length") or 0)
        if size > _SMALL:
            say(f"downloading {url} ({size / 2**20:.0f} MB)")
        shutil.copyfileobj(answer, file, 1 << 20)
