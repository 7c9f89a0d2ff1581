"""Makes the data of this example: slices of a brain, each with the tissue of every pixel.

    python examples/brain/prepare.py [--into examples/brain/data]

The volumes are those of the MNI152 template that comes inside the Python package nilearn: one brain, averaged over 152 people, at one
millimetre. They are read out of the package, which is not installed. Written are its coronal slices as PNG, and beside each a mask:
0 background, 1 grey matter, 2 white matter. Neighbouring slices look alike, so the validation slices are one block, with nine slices
on either side of it left out. Needs the extra `medical` of Oarlock, for NIfTI files.
"""

import argparse
import gzip
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from nibabel.nifti1 import Nifti1Image
from numpy.typing import NDArray
from PIL import Image

from oarlock_api.v1alpha1.dataset import PackageSource
from oarlock_trainer.importing.package_source import fetch_package
from oarlock_trainer.importing.progress import ImportProgress
from oarlock_trainer.rank_record import RankRecord

PACKAGE = PackageSource(name="nilearn", version="0.14.1", path="nilearn/datasets/data")
VOLUME = "mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
LEAST_BRAIN = 0.01
"""Of the pixels of a slice; others show nothing to learn."""
VALIDATION, GAP = 36, 9
"""Slices in the middle that are held out, and slices left out on either side of them."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, default=Path(__file__).parent / "data", help="folder to write, made anew")
    folder = parser.parse_args().into
    with tempfile.TemporaryDirectory() as scratch:
        progress = ImportProgress(RankRecord.from_environment())
        source = fetch_package(PACKAGE, scratch=Path(scratch), progress=progress)
        template, grey, white = (read_volume(source / VOLUME.format(kind)) for kind in ("t1", "gm", "wm"))
    shutil.rmtree(folder, ignore_errors=True)
    slices = find_slices(grey, white)
    for position, y in enumerate(slices):
        split = choose_split(position, len(slices))
        if split:
            write_slice(folder / split, y, template[:, y], label(grey[:, y], white[:, y]))
        if sys.stdout.isatty():
            print(f"\r{position + 1} of {len(slices)} slices", end="", flush=True)
    (folder / "classes.txt").write_text("0 background\n1 grey matter\n2 white matter\n")
    counts = {split: len(list((folder / split / "images").iterdir())) for split in ("train", "validation")}
    print(f"\r{folder}: {counts['train']} slices to train on, {counts['validation']} to validate on")


def read_volume(path: Path) -> NDArray[np.uint8]:
    """Return a volume [x, y, z] with values from 0 to 255."""
    values = np.asarray(Nifti1Image.from_bytes(gzip.decompress(path.read_bytes())).dataobj, dtype=np.float64)
    return np.round(values * (255 / values.max())).astype(np.uint8)


def label(grey: NDArray[np.uint8], white: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the tissue that is the likeliest: 0 where neither grey nor white matter is likelier than not."""
    tissue = np.where(grey >= white, 1, 2)
    return np.where(np.maximum(grey, white) > 127, tissue, 0).astype(np.uint8)  # noqa: PLR2004  # half of 255


def find_slices(grey: NDArray[np.uint8], white: NDArray[np.uint8]) -> list[int]:
    """Return the coronal slices that show some brain, from back to front."""
    shares = (label(grey, white) > 0).mean(axis=(0, 2))
    found: list[int] = np.flatnonzero(shares > LEAST_BRAIN).tolist()
    return found


def choose_split(position: int, count: int) -> str:
    """Return where the slice at a position goes; nowhere if it is next to the held-out ones."""
    start = (count - VALIDATION) // 2
    if start <= position < start + VALIDATION:
        return "validation"
    return "" if start - GAP <= position < start + VALIDATION + GAP else "train"


def write_slice(folder: Path, y: int, pixels: NDArray[np.uint8], mask: NDArray[np.uint8]) -> None:
    """Write a slice as seen from the front, the top of the head up."""
    for kind, values in (("images", pixels), ("masks", mask)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(values.T[::-1])).save(folder / kind / f"{y:03d}.png")


if __name__ == "__main__":
    main()
