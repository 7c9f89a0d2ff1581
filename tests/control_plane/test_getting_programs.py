"""Where the programs of the control plane come from: downloads and builds that go wrong say so, and what was got is kept."""

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from control_plane import envtest
from control_plane.binaries import find_in_assets, find_in_cache
from control_plane.cache import find_versions_folder, hold_lock
from control_plane.components import APISERVER, ETCD, SCHEDULER
from control_plane.debian_build import check_machine
from control_plane.debian_packages import add_source_lines, add_source_types
from control_plane.errors import ControlPlaneError
from control_plane.progress import Progress


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("deb http://mirror/debian bookworm main contrib", True),
        ("deb [signed-by=/key arch=amd64] http://mirror/debian bookworm-updates main", True),
        ("# deb http://mirror/debian bookworm main", False),
        ("deb http://mirror/other bookworm-other main", False),
        ("deb http://mirror/other bookworm stable", False),
        ("deb http://mirror/debian trixie main", False),
    ],
    ids=["plain", "options", "comment", "other publisher", "other section", "other release"],
)
def test_source_line_gets_its_twin_when_it_is_debians_own(line: str, kept: bool) -> None:  # noqa: FBT001
    expected = f"{line}\n{line.replace('deb ', 'deb-src ', 1)}\n" if kept else ""

    assert add_source_lines(f"{line}\n", "bookworm") == expected


def test_source_stanza_gets_both_types_when_it_is_debians_own() -> None:
    ours = "Types: deb\nURIs: http://mirror/debian\nSuites: bookworm bookworm-updates\nComponents: main"
    other = "Types: deb\nURIs: http://mirror/other\nSuites: other\nComponents: main"
    disabled = f"{ours}\nEnabled: no"
    text = "\n\n".join(["# a comment\n" + ours, other, disabled])

    assert add_source_types(text, "bookworm") == ours.replace("Types: deb", "Types: deb deb-src")


def test_error_names_the_machine_when_it_cannot_build(tmp_path: Path) -> None:
    (tmp_path / "os-release").write_text("ID=other\nVERSION_CODENAME=other\n")

    with pytest.raises(ControlPlaneError, match="needs Debian bookworm"):
        check_machine(tmp_path, tmp_path / "os-release")


def test_official_programs_are_cached_when_the_network_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The release server has no scheduler here: the rest is kept, and what is missing is said."""
    archive = _build_archive(tmp_path / "archive.tar.gz")
    (tmp_path / "kube-controller-manager").write_text("program")
    (tmp_path / "kube-controller-manager.sha256").write_text(hashlib.sha256(b"program").hexdigest())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(envtest, "_ARCHIVE", archive.as_uri())
    monkeypatch.setattr(envtest, "_RELEASE", f"{tmp_path.as_uri()}/{{program}}")
    checksum = hashlib.sha512(archive.read_bytes()).hexdigest()
    monkeypatch.setattr(envtest, "_CHECKSUMS", dict.fromkeys(envtest._CHECKSUMS, checksum))
    said: list[str] = []
    with hold_lock(find_versions_folder() / "build.lock"):
        envtest.download(said.append)
    found = find_in_cache()

    assert found
    assert (found.version, found.missing) == (envtest.VERSION, [SCHEDULER])
    assert "going on without it" in said[-1]


def test_download_is_refused_when_its_checksum_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = _build_archive(tmp_path / "archive.tar.gz")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(envtest, "_ARCHIVE", archive.as_uri())
    with hold_lock(find_versions_folder() / "build.lock"), pytest.raises(ControlPlaneError, match="another checksum"):
        envtest.download(lambda _: None)

    assert find_in_cache() is None


def test_progress_overwrites_its_line_when_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    progress = Progress(["first", "second"], stream=terminal)
    progress.begin("first")
    progress.begin("second")
    progress.end("done")

    assert terminal.getvalue().startswith("\rcontrol plane: [1/2] first, 0 s so far, then second\r")
    assert terminal.getvalue().rstrip().endswith("control plane: done")


def test_progress_keeps_quiet_between_stages_when_not_on_a_terminal() -> None:
    output = io.StringIO()
    progress = Progress(["only"], stream=output)
    progress.begin("only")
    for step in range(100):
        progress.update(step / 100)

    assert output.getvalue() == "control plane: [1/1] only, 0 s so far\n"


def test_error_names_the_variable_when_the_assets_lack_a_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))

    with pytest.raises(ControlPlaneError, match="has no etcd and no kube-apiserver"):
        find_in_assets()


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _build_archive(path: Path) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for program in (ETCD, APISERVER, "kubectl"):
            member = tarfile.TarInfo(f"controller-tools/envtest/{program}")
            member.size, member.mode = len(program), 0o755
            archive.addfile(member, io.BytesIO(program.encode()))
    return path
