"""Find the programs of a Kubernetes control plane, or get them: from `KUBEBUILDER_ASSETS`, from the cache, from the official
envtest archive, or on Debian by a build from its source package. An existing cluster comes before all of them."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from control_plane import cache, debian_build, envtest, progress
from control_plane.components import APISERVER, COMPONENTS, ETCD
from control_plane.errors import ControlPlaneError

KUBECONFIG_ENV = "OARLOCK_TEST_KUBECONFIG"
ASSETS_ENV = "KUBEBUILDER_ASSETS"


@dataclass(frozen=True, kw_only=True, slots=True)
class Binaries:
    """A folder with the programs of one Kubernetes version."""

    folder: Path
    version: str
    origin: str

    def find(self, component: str) -> Path | None:
        path = self.folder / component
        return path if os.access(path, os.X_OK) else None

    @property
    def missing(self) -> list[str]:
        return [component for component in COMPONENTS if not self.find(component)]

    @property
    def minor_version(self) -> int:
        return int(self.version.split(".")[1])


def find_external_kubeconfig() -> Path | None:
    """Return the kubeconfig of the existing cluster that the tests shall use, if there is one."""
    value = os.environ.get(KUBECONFIG_ENV)
    if value and not Path(value).is_file():
        raise ControlPlaneError(f"{KUBECONFIG_ENV} names {value}, which is no file; correct it or unset it")
    return Path(value) if value else None


def find_or_build(say: progress.Say = progress.say) -> Binaries:
    """Return the first binaries found; build them where there are none."""
    for find in (find_in_assets, find_in_cache):
        if found := find():
            return found
    return _fetch_or_build(say)


def find_in_assets() -> Binaries | None:
    value = os.environ.get(ASSETS_ENV)
    if not value:
        return None
    folder = Path(value)
    lacking = [name for name in (ETCD, APISERVER) if not os.access(folder / name, os.X_OK)]
    if lacking:
        raise ControlPlaneError(
            f"{ASSETS_ENV} names {value}, which has no {' and no '.join(lacking)}; correct or unset it"
        )
    return Binaries(folder=folder, version=read_version(folder / APISERVER), origin=ASSETS_ENV)


def find_in_cache() -> Binaries | None:
    """Return the cached version with the most components, among equals the newest."""
    cached = sorted(_list_cache(), key=lambda binaries: (-len(binaries.missing), _sort_key(binaries.version)))
    return cached[-1] if cached else None


def read_version(apiserver: Path) -> str:
    answer = subprocess.run([str(apiserver), "--version"], capture_output=True, text=True, check=False, timeout=30)
    found = re.search(r"v(\d+\.\d+\.\d+\S*)", answer.stdout)
    if not found:
        raise ControlPlaneError(f"`{apiserver} --version` printed no version: {answer.stdout}{answer.stderr}")
    return found[1]


def _list_cache() -> Iterator[Binaries]:
    for manifest in cache.find_versions_folder().glob(f"*/{cache.MANIFEST}"):
        description = json.loads(manifest.read_text())
        found = Binaries(folder=manifest.parent, version=description["version"], origin=description["origin"])
        if found.find(ETCD) and found.find(APISERVER):
            yield found


def _fetch_or_build(say: progress.Say) -> Binaries:
    waiting = "another test run is getting the control plane's programs; waiting for it"
    with cache.hold_lock(cache.find_versions_folder() / "build.lock", on_wait=lambda: say(waiting)):
        failures: list[str] = []
        for way in (_do_nothing, envtest.download, debian_build.build):
            try:
                way(say)
            except ControlPlaneError as error:
                say(str(error).splitlines()[0])
                failures.append(str(error))
            found = find_in_cache()
            if found and not found.missing:
                return found
        if found:
            return found
    raise ControlPlaneError(_describe_failures(failures))


def _do_nothing(_say: progress.Say) -> None:
    """Whoever held the lock before may have done it all."""


def _describe_failures(failures: list[str]) -> str:
    remedy = (
        f"Set {ASSETS_ENV} to a folder with {', '.join(COMPONENTS)}, or {KUBECONFIG_ENV} to the kubeconfig of a cluster "
        "that may be filled with test objects."
    )
    heading = "there is no Kubernetes control plane to test with, and getting one failed:"
    return "\n".join([heading, *(f"- {failure}" for failure in failures), remedy])


def _sort_key(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))
