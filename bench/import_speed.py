"""How fast images are imported, beside a plain loop that does the least that could be called the same.

    python bench/import_speed.py [--images 20000] [--photos 1000] [--rounds 3]

Prints images per second of the whole import (listing, dividing, decoding, writing with fsync, checksums, mean, publishing;
workers included) for each kind of source, of the loop over the same files (open, convert, resize, save one .npz) in the same
process and run, and the ratio; and the same per CPU second, which other work on the machine
disturbs less. Half a second of each worker is its start. Sources are made first and are not part of the time; the page cache is
warm for both.
"""

import argparse
import gzip
import io
import os
import resource
import shutil
import statistics
import struct
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from oarlock_api.run import ImportRun
from oarlock_api.v1alpha1.dataset import DatasetSpec
from oarlock_trainer.importing.importer import ImportFolders, import_dataset
from oarlock_trainer.importing.progress import ImportProgress
from oarlock_trainer.rank_record import RankRecord

TARGET = 20_000


@dataclass(frozen=True, kw_only=True)
class Case:
    name: str
    count: int
    spec: dict[str, object]
    source: Path
    baseline: Callable[[Path], None]


def digit(rng: np.random.Generator) -> np.ndarray:
    image = np.zeros((28, 28), dtype=np.uint8)
    row, column = rng.integers(4, 10, 2)
    image[row : row + 14, column : column + 10] = rng.integers(60, 256, (14, 10))
    return image


def photo(rng: np.random.Generator) -> np.ndarray:
    coarse = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC))


def make_folders(root: Path, images: list[np.ndarray], ending: str) -> Path:
    for index, image in enumerate(images):
        folder = root / f"class{index % 10}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{index:06d}.{ending}")
    return root


def make_idx(root: Path, images: list[np.ndarray]) -> Path:
    root.mkdir()
    stack = np.stack(images)
    (root / "images").write_bytes(struct.pack(">4B3I", 0, 0, 8, 3, *stack.shape) + stack.tobytes())
    (root / "labels").write_bytes(
        struct.pack(">4BI", 0, 0, 8, 1, len(images)) + bytes(i % 10 for i in range(len(images)))
    )
    return root


def make_csv(path: Path, images: list[np.ndarray]) -> Path:
    lines = [",".join(map(str, [*image.reshape(-1).tolist(), index % 10])) for index, image in enumerate(images)]
    path.write_bytes(gzip.compress("\n".join(lines).encode(), compresslevel=6))
    return path


def loop_over_files(size: int, mode: str) -> Callable[[Path], None]:
    def loop(root: Path) -> None:
        images, labels = [], []
        for label, folder in enumerate(sorted(root.iterdir())):
            for path in sorted(folder.iterdir()):
                with Image.open(path) as image:
                    images.append(np.asarray(image.convert(mode).resize((size, size), Image.Resampling.BILINEAR)))
                labels.append(label)
        save(np.stack(images), np.array(labels))

    return loop


def loop_over_idx(root: Path) -> None:
    images = np.frombuffer((root / "images").read_bytes(), dtype=np.uint8, offset=16).reshape(-1, 28, 28)
    save(images, np.frombuffer((root / "labels").read_bytes(), dtype=np.uint8, offset=8))


def loop_over_csv(path: Path) -> None:
    with gzip.open(path, "rt") as file:
        table = np.array([[int(cell) for cell in line.split(",")] for line in file], dtype=np.uint8)
    save(table[:, :-1], table[:, -1])


def save(images: np.ndarray, labels: np.ndarray) -> None:
    with tempfile.TemporaryFile() as file:
        np.savez(file, images=images, labels=labels)
        os.fsync(file.fileno())


def cpu_seconds() -> float:
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in spent)


def measure(action: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds on the wall and the CPU seconds of this process and its workers."""
    started, cpu = time.perf_counter(), cpu_seconds()
    action()
    return time.perf_counter() - started, cpu_seconds() - cpu


def rates(count: int, measured: list[tuple[float, float]]) -> tuple[float, float]:
    """Return the median images per second and per CPU second."""
    wall, cpu = (statistics.median(times) for times in zip(*measured, strict=True))
    return count / wall, count / cpu


def import_once(case: Case, data: Path, workers: int) -> None:
    spec = DatasetSpec.from_wire({"source": {"volume": {"claim": "bench"}}, **case.spec})
    progress = ImportProgress(RankRecord.from_environment(), out=io.StringIO())
    run = ImportRun(name="bench", spec=spec, workers=workers)
    import_dataset(run, ImportFolders(data=data, source=case.source), progress=progress)
    shutil.rmtree(data)


def make_cases(root: Path, *, images: int, photos: int) -> list[Case]:
    rng = np.random.default_rng(0)
    digits = [digit(rng) for _ in range(images)]
    pictures = [photo(rng) for _ in range(photos)]
    gray = {"channels": "gray"}
    folders: dict[str, object] = {"folders": {}}
    csv: dict[str, object] = {"csv": {}}
    idx = {"idx": {"images": "images", "labels": "labels"}}
    square = {"width": 224, "height": 224}
    return [
        Case(
            name="28x28 PNG files",
            count=images,
            spec={"layout": folders, "image": gray},
            source=make_folders(root / "png", digits, "png"),
            baseline=loop_over_files(28, "L"),
        ),
        Case(
            name="28x28 IDX",
            count=images,
            spec={"layout": idx},
            source=make_idx(root / "idx", digits),
            baseline=loop_over_idx,
        ),
        Case(
            name="28x28 CSV.gz",
            count=images,
            spec={"layout": csv},
            source=make_csv(root / "digits.csv.gz", digits),
            baseline=loop_over_csv,
        ),
        Case(
            name="500x375 JPEG to 224x224",
            count=photos,
            spec={"layout": folders, "image": square},
            source=make_folders(root / "jpg", pictures, "jpg"),
            baseline=loop_over_files(224, "RGB"),
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--photos", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="oarlock-bench-") as folder:
        root = Path(folder)
        cases = make_cases(root, images=options.images, photos=options.photos)
        print(
            f"{options.workers} workers, median of {options.rounds} interleaved rounds, load {os.getloadavg()[0]:.1f}"
        )
        print(
            f"{'source':<26}{'images':>8}{'import/s':>12}{'loop/s':>12}{'ratio':>8}{'import/cpu-s':>14}{'loop/cpu-s':>14}"
        )
        for case in cases:
            ours, loop = [], []
            for _ in range(options.rounds):
                ours.append(measure(partial(import_once, case, root / "data", options.workers)))
                loop.append(measure(partial(case.baseline, case.source)))
            (fast, fast_cpu), (plain, plain_cpu) = rates(case.count, ours), rates(case.count, loop)
            shown = f"{fast:>12,.0f}{plain:>12,.0f}{fast / plain:>8.2f}{fast_cpu:>14,.0f}{plain_cpu:>14,.0f}"
            print(f"{case.name:<26}{case.count:>8,}{shown}")
        print(f"target: {TARGET:,} images/s for raw 28x28 on 2 cores")


if __name__ == "__main__":
    main()
