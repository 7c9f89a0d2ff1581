"""Makes the source of a Dataset a path on this machine, whatever kind of source it is."""

from pathlib import Path

from oarlock_api.v1alpha1.dataset import Source
from oarlock_trainer.errors import ConfigError, DataMissingError
from oarlock_trainer.importing.package_source import fetch_package
from oarlock_trainer.importing.progress import ImportProgress


def locate_source(source: Source, *, source_dir: Path | None, scratch: Path | None, progress: ImportProgress) -> Path:
    """Return the file or folder that the layout is about.

    `source_dir` is where the path of a volume source is mounted.

    Raises:
        DataMissingError: if it is not there, or a package cannot be had.
        ConfigError: if this importer does not know the kind of source.
    """
    if source.volume is not None:
        return _locate_on_volume(source_dir, source.volume.path)
    if source.package is not None:
        if scratch is None:
            raise ConfigError(
                "spec.source.package is set, but OARLOCK_SCRATCH_DIR is not",
                remedy="set OARLOCK_SCRATCH_DIR to a folder in which the package can be unpacked",
            )
        return fetch_package(source.package, scratch=scratch, progress=progress)
    raise ConfigError(
        "spec.source names a kind of source that this importer does not support yet",
        remedy="put the files on a volume and use spec.source.volume",
    )


def _locate_on_volume(source_dir: Path | None, path: str) -> Path:
    if source_dir is None:
        raise ConfigError(
            "spec.source.volume is set, but OARLOCK_SOURCE_DIR is not",
            remedy="set OARLOCK_SOURCE_DIR to the folder or file from which to import",
        )
    if not source_dir.exists():
        raise DataMissingError(
            f"the source {source_dir} does not exist on the volume",
            remedy=f"check spec.source.volume.path ({path!r}), which is relative to the root of the claim",
        )
    return source_dir
