"""Decides the size and the channels that every sample gets, from the spec and from what the source holds."""

from typing import cast

from oarlock_api.v1alpha1.dataset import Channels, Encoding, ImageFormat, Resize
from oarlock_trainer.errors import ConfigError, DataCorruptError
from oarlock_trainer.importing.folders import printable
from oarlock_trainer.importing.images import PixelFormat, measure_image
from oarlock_trainer.importing.samples import Files, Listing, TableSamples
from oarlock_trainer.importing.source_files import UnreadableSampleError, read_source_file, source_errors

_TRIED = 100
"""Files looked at for one that can be read."""
_SUPPORTED_RESIZES = (Resize.SQUASH, Resize.CROP, Resize.FILL)


def choose_format(listing: Listing, image: ImageFormat) -> PixelFormat:
    """Return the form of the stored samples: what the spec leaves open is taken from the first image of the source.

    Raises:
        ConfigError: if the spec asks for what this importer cannot do.
        DataCorruptError: if no image can be read.
    """
    if image.resize not in _SUPPORTED_RESIZES or image.encoding is not Encoding.RAW:
        raise ConfigError(
            f"spec.image asks for resize {image.resize} and encoding {image.encoding}, which are not supported yet",
            remedy="use resize squash, crop or fill, and encoding raw",
        )
    table = isinstance(listing.samples, TableSamples)
    channels = image.channels or (Channels.GRAY if table else Channels.RGB)
    height, width = image.height, image.width
    if height is None or width is None:
        found = _native_size(listing)
        height, width = height or found[0], width or found[1]
    return PixelFormat(height=height, width=width, channels=1 if channels is Channels.GRAY else 3, resize=image.resize)


def _native_size(listing: Listing) -> tuple[int, int]:
    samples = listing.samples
    if isinstance(samples, TableSamples):
        return samples.height, samples.width
    return _first_size(cast("Files", samples))


def _first_size(samples: Files) -> tuple[int, int]:
    reasons = []
    for path in samples.paths[:_TRIED]:
        try:
            with source_errors():
                return measure_image(read_source_file(f"{samples.root}/{path}"))
        except UnreadableSampleError as error:
            reasons.append(f"{printable(path)}: {error}")
    raise DataCorruptError(
        f"none of the first {len(reasons)} images of {samples.root} can be read; {reasons[0]}",
        remedy="check that the files are images, and that they were copied whole",
    )
