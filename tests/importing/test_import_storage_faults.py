"""Imports on disks that are full, or that refuse to be written."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from importing.import_processes import MAIN, PHOTO, Import
from importing.made_sources import import_from, volume_spec, write_class_folders

from oarlock_api.contract import EXIT_CODES, Cause
from oarlock_trainer.errors import StorageError

LIMITED = (
    "import resource, sys\n"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))\n"
    "from oarlock_trainer.importing.__main__ import main\n"
    "sys.exit(main())\n"
)


def test_import_names_folder_and_room_when_the_disk_fills_up(photos: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for the end of the disk, since it needs no privileges."""
    importing = Import(tmp_path, source=photos, spec=PHOTO)
    done = importing.run([sys.executable, "-c", LIMITED])

    assert done.returncode == EXIT_CODES[Cause.STORAGE_FULL], done.stderr
    failure = importing.reading.failure
    assert failure is not None
    assert f"writing the data set filled {importing.data}" in failure.message
    assert "are free of the 7" in failure.message
    assert "spec.storage.size" in failure.remedy
    assert not importing.versions


def test_import_names_the_full_disk_when_it_is_a_real_one(tmp_path: Path) -> None:
    importing = Import(tmp_path, source=write_class_folders(tmp_path / "raw", each=100))
    importing.data.mkdir(parents=True)
    mount = f"mount -t tmpfs -o size=64k none {importing.data} && "
    namespace = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run([*namespace, f"{mount} true"], check=False, capture_output=True).returncode:
        pytest.skip("NOT RUN: this machine lets nobody mount a file system of his own")
    done = importing.run([*namespace, f'{mount} exec "$@"', "sh", *MAIN])

    failure = importing.reading.failure
    assert done.returncode == EXIT_CODES[Cause.STORAGE_FULL], done.stderr
    assert failure is not None
    assert f"the data set needs 103.0 KiB in {importing.data}, where 64.0 KiB are free" in failure.message


def test_import_is_refused_early_when_it_cannot_fit(tmp_path: Path) -> None:
    source = write_class_folders(tmp_path / "raw", each=2)
    largest = volume_spec(image={"width": 8192, "height": 8192})
    for index in range(shutil.disk_usage(tmp_path).free // (3 * 8192**2) + 1):
        (source / "cat" / f"link{index}.png").symlink_to("000.png")

    with pytest.raises(StorageError, match=r"the data set needs .* in .*data, where .* are free") as caught:
        import_from(source, tmp_path / "data", largest)
    assert caught.value.cause is Cause.STORAGE_FULL
    assert not list((tmp_path / "data").rglob("*.arrow"))


def test_import_fails_when_the_volume_refuses_to_be_written(tmp_path: Path) -> None:
    importing = Import(
        tmp_path, source=write_class_folders(tmp_path / "raw"), variables={"OARLOCK_DATA_DIR": "/sys/oarlock/data"}
    )
    done = importing.run()

    assert done.returncode == EXIT_CODES[Cause.STORAGE_FAILED], done.stderr
    failure = importing.reading.failure
    assert failure is not None
    assert failure.message.startswith("preparing the folder of the import failed at /sys/oarlock")
    assert "mounted, writable and healthy" in failure.remedy
