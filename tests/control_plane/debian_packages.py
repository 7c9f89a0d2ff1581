"""Debian packages for the build, fetched with apt but never installed: apt works in a private state folder with a private
copy of the machine's own package sources, and `dpkg -x` unpacks, so that the machine stays as it is and root is not needed."""

import re
from pathlib import Path

from control_plane.errors import ControlPlaneError
from control_plane.steps import Steps

_SETTINGS = """\
Dir::State "{folder}/state/";
Dir::State::status "/var/lib/dpkg/status";
Dir::Cache "{folder}/cache/";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "{folder}/sources/";
APT::Sandbox::User "";
APT::Update::Error-Mode "any";
"""


class PackageFetcher:
    """Fetches binary and source packages of one Debian release into a folder."""

    def __init__(self, folder: Path, *, release: str, steps: Steps, etc: Path = Path("/etc/apt")) -> None:
        self.downloads = folder / "downloads"
        self._folder, self._release, self._steps, self._etc = folder, release, steps, etc

    def update(self) -> None:
        """Fetch the package lists of the machine's Debian sources, source packages included."""
        for name in ("state/lists/partial", "cache/archives/partial", "sources", "downloads"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        for name, text in read_sources(self._etc, self._release).items():
            (self._folder / "sources" / name).write_text(text)
        (self._folder / "apt.conf").write_text(_SETTINGS.format(folder=self._folder))
        self._apt("update")

    def fetch_source(self, package: str) -> None:
        self._apt("source", "--download-only", package)

    def fetch(self, *packages: str) -> None:
        self._apt("download", *packages)

    def unpack(self, target: Path) -> None:
        """Unpack all fetched binary packages into one folder."""
        for package in sorted(self.downloads.glob("*.deb")):
            self._steps.run(["dpkg", "-x", str(package), str(target)])

    def _apt(self, *arguments: str) -> None:
        environment = {"APT_CONFIG": str(self._folder / "apt.conf"), "LC_ALL": "C.UTF-8"}
        self._steps.run(["apt-get", *arguments, "--quiet"], environment=environment, folder=self.downloads)


def read_sources(etc: Path, release: str) -> dict[str, str]:
    """Return the machine's own Debian sources by file name, with source packages added."""
    found = {path.name: add_source_lines(path.read_text(), release) for path in _list_files(etc, "list")}
    found |= {path.name: add_source_types(path.read_text(), release) for path in _list_files(etc, "sources")}
    kept = {name: text for name, text in found.items() if text}
    if not kept:
        raise ControlPlaneError(
            f"{etc} has no package source for the main section of Debian {release}; add one, then run again"
        )
    return kept


def add_source_lines(text: str, release: str) -> str:
    """Return the `deb` lines of a sources.list for the release, each with its `deb-src` twin."""
    pattern = re.compile(r"^deb\s+((?:\[[^\]]*\]\s+)?\S+\s+(\S+)\s+(.*))$")
    lines = [match for line in text.splitlines() if (match := pattern.match(line.strip()))]
    wanted = [line[1] for line in lines if _is_wanted(line[2].split(), line[3].split(), release)]
    return "".join(f"deb {line}\ndeb-src {line}\n" for line in wanted)


def add_source_types(text: str, release: str) -> str:
    """Return the stanzas of a deb822 file for the release, each with both types."""
    stanzas = [_strip_comments(stanza) for stanza in re.split(r"\n\s*\n", text)]
    wanted = [stanza for stanza in stanzas if _is_wanted_stanza(stanza, release)]
    return "\n\n".join(re.sub(r"(?mi)^Types:.*$", "Types: deb deb-src", stanza) for stanza in wanted)


def _is_wanted_stanza(stanza: str, release: str) -> bool:
    fields = {name.lower(): value for name, value in re.findall(r"(?m)^([\w-]+):[ \t]*(.*)$", stanza)}
    if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() == "no":
        return False
    return _is_wanted(fields.get("suites", "").split(), fields.get("components", "").split(), release)


def _is_wanted(suites: list[str], sections: list[str], release: str) -> bool:
    # Other publishers use the release's name too, but rarely with this section, and not with these suites.
    ours = {release, f"{release}-updates", f"{release}-security"}
    return "main" in sections and bool(suites) and set(suites) <= ours


def _strip_comments(stanza: str) -> str:
    return "\n".join(line for line in stanza.splitlines() if line.strip() and not line.startswith("#"))


def _list_files(etc: Path, kind: str) -> list[Path]:
    return [path for path in (*etc.glob(f"sources.{kind}"), *etc.glob(f"sources.list.d/*.{kind}")) if path.is_file()]
