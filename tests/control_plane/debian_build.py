"""Build the control plane from Debian's own source package, for machines that reach a Debian mirror but no release server:
about five minutes on two cores, once. Nothing is installed; the result is Kubernetes 1.20.2, old but real.

Debian packages no API server, and its compiler is newer than that source expects. Two things make it build: the OpenAPI
definitions are generated (they are in no archive), and one vendored library is replaced by Debian's newer copy.
"""

import os
import platform
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from control_plane import cache, progress
from control_plane.components import APISERVER, CONTROLLER_MANAGER, ETCD, SCHEDULER
from control_plane.debian_packages import PackageFetcher
from control_plane.errors import ControlPlaneError
from control_plane.progress import Progress, format_duration
from control_plane.steps import Steps

VERSION = "1.20.2"
RELEASE = "bookworm"
BUILT = (APISERVER, CONTROLLER_MANAGER, SCHEDULER)

_GO = "1.19"
_REFLECT = "github.com/modern-go/reflect2"
_PACKAGES = (f"golang-{_GO}-go", f"golang-{_GO}-src", "golang-github-modern-go-reflect2-dev", "etcd-server")
_PACKAGE_COUNT = 1731  # that `go build -v` lists from an empty cache
_FREE_BYTES = 4 * 2**30
_STAGES = ("package lists", "download (125 MB)", "unpack", "generate OpenAPI", "compile (about 4 min)", "check")
_LISTS, _DOWNLOAD, _UNPACK, _GENERATE, _COMPILE, _CHECK = _STAGES


def build(say: progress.Say = progress.say) -> None:
    """Build into the cache. The caller holds the lock; what a failed try downloaded and compiled is used again."""
    folder = cache.find_versions_folder() / f"build-{VERSION}"
    check_machine(folder)
    say(f"building Kubernetes {VERSION} from Debian's source package, once; log: {folder / 'build.log'}")
    _Build(folder).run()


def check_machine(folder: Path, os_release: Path = Path("/etc/os-release")) -> None:
    """Raise an error that says why this machine cannot build."""
    text = os_release.read_text() if os_release.exists() else ""
    if not re.search(rf"(?m)^VERSION_CODENAME={RELEASE}$", text):
        raise ControlPlaneError(
            f"the build from Debian's source package needs Debian {RELEASE}, which this machine is not"
        )
    lacking = [name for name in ("apt-get", "dpkg", "tar", "nice") if not shutil.which(name)]
    if lacking:
        raise ControlPlaneError(f"the build needs {', '.join(lacking)} on PATH; install what is missing")
    folder.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(folder).free < _FREE_BYTES:
        raise ControlPlaneError(
            f"the build needs {_FREE_BYTES // 2**30} GiB in {folder}; make room, or set XDG_CACHE_HOME to a larger disk"
        )


class _Build:
    """One build in one work folder, which goes away when it succeeds."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.tools, self.finished = folder, folder / "tools", folder / "finished"
        self.source = folder / "go" / "src" / "k8s.io" / "kubernetes"
        self.progress = Progress(_STAGES)
        self.steps = Steps(folder / "build.log", on_tick=lambda: self.progress.update(None))
        self.packages = PackageFetcher(folder, release=RELEASE, steps=self.steps)

    def run(self) -> None:
        self.steps.log.unlink(missing_ok=True)
        stages = (self._update, self._download, self._unpack, self._generate, self._compile, self._check)
        try:
            for name, stage in zip(_STAGES, stages, strict=True):
                self.progress.begin(name)
                stage()
        except (ControlPlaneError, OSError) as error:
            self.progress.end(f"the build failed in stage '{self.progress.stage}'")
            raise ControlPlaneError(self._describe_failure(error)) from error
        cache.swap_into_place(self.finished, self.folder.with_name(VERSION))
        shutil.rmtree(self.folder)
        self.progress.end(f"built Kubernetes {VERSION} in {format_duration(self.progress.seconds)}")

    def _update(self) -> None:
        self.packages.update()

    def _download(self) -> None:
        self.packages.fetch_source("kubernetes")
        self.packages.fetch(*_PACKAGES)

    def _unpack(self) -> None:
        # From scratch, as a failed try may have changed the source; the compiler's cache knows what is the same.
        for leftover in (self.tools, self.source, self.finished):
            shutil.rmtree(leftover, ignore_errors=True)
        self.tools.mkdir()
        self.packages.unpack(self.tools)
        self.source.mkdir(parents=True)
        self.steps.run(["tar", "-xf", str(self._find_archive()), "--strip-components=1", "-C", str(self.source)])
        vendored = self.source / "vendor" / _REFLECT
        shutil.rmtree(vendored)
        shutil.copytree(self.tools / "usr/share/gocode/src" / _REFLECT, vendored)

    def _generate(self) -> None:
        """Write the OpenAPI definitions, which the source's own makefile would generate."""
        generator = self.folder / "openapi-gen"
        self._go("build", "-o", str(generator), "./vendor/k8s.io/kube-openapi/cmd/openapi-gen")
        self.steps.run(
            [
                str(generator),
                "--logtostderr",
                f"--input-dirs={','.join(find_openapi_packages(self.source))}",
                "--output-package=k8s.io/kubernetes/pkg/generated/openapi",
                "--output-file-base=zz_generated.openapi",
                "--go-header-file=vendor/k8s.io/code-generator/hack/boilerplate.go.txt",
                f"--report-filename={self.folder / 'openapi-violations'}",
            ],
            environment=self._build_environment(),
            folder=self.source,
        )

    def _compile(self) -> None:
        self.finished.mkdir()
        before = _count_lines(self.steps.log)

        def show() -> None:
            done = _count_lines(self.steps.log) - before
            self.progress.update(min(1, done / _PACKAGE_COUNT), f"package {done} of about {_PACKAGE_COUNT}")

        programs = [f"./cmd/{name}" for name in BUILT]
        self._go("build", "-v", "-ldflags", build_linker_flags(), "-o", f"{self.finished}/", *programs, on_tick=show)
        shutil.copy2(self.tools / "usr/bin/etcd", self.finished / ETCD)

    def _check(self) -> None:
        for name in (*BUILT, ETCD):
            self.steps.run([str(self.finished / name), "--version"])
        origin = f"Debian {RELEASE} source package, {platform.machine()}"
        cache.write_manifest(self.finished, version=VERSION, origin=origin, seconds=self.progress.seconds)

    def _go(self, *arguments: str, on_tick: Callable[[], None] | None = None) -> None:
        go = self.tools / f"usr/lib/go-{_GO}/bin/go"
        environment = self._build_environment()
        self.steps.run([str(go), *arguments], environment=environment, folder=self.source, on_tick=on_tick)

    def _build_environment(self) -> dict[str, str]:
        return {
            "GOROOT": str(self.tools / f"usr/lib/go-{_GO}"),
            "GOPATH": str(self.folder / "go"),
            "GOCACHE": str(self.folder / "go-cache"),
            "GO111MODULE": "off",
            "GOFLAGS": "-buildvcs=false",
            "GOPROXY": "off",
            "CGO_ENABLED": "0",
            "PATH": f"{self.tools / f'usr/lib/go-{_GO}/bin'}:{os.environ['PATH']}",
        }

    def _find_archive(self) -> Path:
        wanted = f"{VERSION}.orig.tar.gz"
        archives = sorted(self.packages.downloads.glob("kubernetes_*.orig.tar.*"))
        fitting = [path for path in archives if path.name.endswith(wanted)]
        if not fitting:
            found = ", ".join(path.name for path in archives)
            raise ControlPlaneError(f"this recipe is for *{wanted}, but Debian {RELEASE} now has {found}")
        return fitting[-1]

    def _describe_failure(self, error: Exception) -> str:
        log = self.steps.log
        tail = log.read_text(errors="replace").splitlines()[-15:] if log.exists() else []
        remedies = {
            _LISTS: "See that `apt-get update` works on this machine (network, mirror, proxy).",
            _DOWNLOAD: "See that `apt-get download etcd-server` works on this machine (network, mirror, proxy).",
            _COMPILE: "Linking needs 3 GiB of memory; end what occupies it.",
        }
        advice = ["Run again: finished downloads and compiled packages are kept.", f"The whole log: {log}"]
        return "\n".join(
            [
                f"building Kubernetes {VERSION} failed in stage '{self.progress.stage}': {error}",
                *(f"  {line}" for line in (remedies.get(self.progress.stage), *advice) if line),
                *(f"  | {line}" for line in tail),
            ]
        )


def find_openapi_packages(source: Path) -> list[str]:
    """Return the import paths of all packages that ask for OpenAPI definitions, without those of examples."""
    files = [path for root in ("pkg", "staging/src", "cmd", "plugin") for path in (source / root).rglob("*.go")]
    asking = {path.parent for path in files if "+k8s:openapi-gen=" in path.read_text(errors="replace")}
    folders = [str(folder.relative_to(source)) for folder in asking]
    kept = [folder for folder in folders if not re.search(r"/(code-generator|sample-apiserver)/", f"/{folder}/")]
    return sorted(f"k8s.io/kubernetes/{folder}".replace("/staging/src/", "/vendor/") for folder in kept)


def build_linker_flags() -> str:
    """Return flags that leave debug information out and set the version, which the archive does not know."""
    major, minor, _ = VERSION.split(".")
    values = {"gitVersion": f"v{VERSION}", "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    modules = ("component-base/version", "client-go/pkg/version")
    settings = [
        f"-X k8s.io/kubernetes/vendor/k8s.io/{module}.{name}={value}"
        for module in modules
        for name, value in values.items()
    ]
    return " ".join(["-s", "-w", *settings])


def _count_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0
