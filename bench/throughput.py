"""The speed table: images a second of Oarlock, a bare loop written by hand, Lightning's Trainer and Hugging Face's Trainer.

    python bench/throughput.py                                              LeNet on MNIST's size, one process on CPU
    python bench/throughput.py --model resnet --side 32 --channels 3 --processes 2
    python bench/throughput.py --gpu --model resnet50 --side 224 --channels 3 --classes 1000 --batch 256 --bf16 --compile

All train the same model on the same images with the same batch, optimizer, schedule, augmentation and number of processes, each in
processes of its own. They take turns of a few steps while the others wait, so that a machine that slows down slows all; which
one begins changes from round to round. `to bare` is the median over the rounds of the bare loop's time divided by the
contender's: 1 is as fast as by hand. `--gate 0.98` makes a lower one of Oarlock an error. On a machine that others use as well,
the processor time (`CPU ms`, a step, all processes) says more than the wall time.

The bare loop has all samples on the device. Lightning and Hugging Face get a data loader that takes whole batches out of memory.
Oarlock trains with everything on, as in a pod. What is not installed is left out, and said (pip install 'oarlock[bench]').
"""

import argparse
import contextlib
import importlib
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from speed.contenders import NEEDS, Contender, FailedContenderError, Figures, find_absent
from speed.setup import Setup, write_data
from speed.table import BASELINE, compare, describe_table
from speed.torchvision_beside_cpu import mend_torchvision

_PROGRAMS = {
    "bare": "speed.bare_loop",
    "oarlock": "speed.oarlock_loop",
    "lightning": "speed.lightning_trainer",
    "hugging face": "speed.hugging_face_trainer",
}


def say(text: str) -> None:
    """Say what is being done, beside the table."""
    print(text, file=sys.stderr, flush=True)


def compete(setup: Setup, names: Sequence[str]) -> tuple[dict[str, Figures | str], dict[str, float | None]]:
    """Let the contenders train in turns; return what was measured of each, or why nothing was, and how long each waited for data."""
    results: dict[str, Figures | str] = {name: find_absent(name) for name in names}
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        say(f"writing {setup.samples:,} images")
        setup = write_data(setup, folder / "data")
        started: list[Contender] = []
        for each in names:
            say(f"{each}: {results[each] or 'starting'}")
            if not results[each]:
                started.append(stack.enter_context(Contender(each, setup, folder, Path(__file__).resolve())))
                started[-1].start()
        running = [contender for contender in started if warm_up(contender)]
        results |= {contender.name: "FAILED: see above" for contender in started if contender not in running}
        for number in range(setup.pairs):
            if number % max(1, setup.pairs // 10) == 0:
                say(f"round {number + 1} of {setup.pairs}")
            for contender in (*running[number % len(running) :], *running[: number % len(running)]):
                contender.take_turn()
        results |= {contender.name: contender.figures for contender in running}
        return results, {contender.name: contender.read_data_wait() for contender in running}


def warm_up(contender: Contender) -> bool:
    """Wait until a contender is warm; say why, if it fails."""
    say(f"{contender.name}: warming up")
    try:
        contender.wait_until_warm()
    except FailedContenderError as error:
        say(str(error))
        return False
    return True


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="lenet", help="a built-in model (lenet)")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--batch", type=int, default=64, help="samples in a step, over all processes (64)")
    parser.add_argument("--side", type=int, default=28, help="pixels of an image's side (28)")
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--samples", type=int, default=4096, help="images in the data set (4096)")
    parser.add_argument("--pairs", type=int, default=20, help="rounds that are measured (20)")
    parser.add_argument("--stretch", type=int, default=20, help="steps in a turn (20)")
    parser.add_argument("--cpus", type=int, help="cores, over all processes; by default one for each process")
    parser.add_argument("--workers", type=int, help="data loading processes for each process (0; 4 with --gpu)")
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--compile", action="store_true", dest="compiles")
    parser.add_argument("--only", help="contenders, with commas between them; the bare loop always takes part")
    parser.add_argument("--gate", type=float, help="the least that Oarlock may reach of the bare loop")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    return parser.parse_args()


def build_setup(options: argparse.Namespace) -> Setup:
    return Setup(
        model=options.model,
        processes=options.processes,
        batch=options.batch,
        side=options.side,
        channels=options.channels,
        classes=options.classes,
        samples=options.samples,
        stretch=options.stretch,
        pairs=options.pairs,
        cpus=options.cpus or options.processes,
        workers=options.workers if options.workers is not None else 4 * options.gpu,
        gpu=options.gpu,
        bf16=options.bf16,
        compiles=options.compiles,
    )


def choose_contenders(only: str | None) -> list[str]:
    chosen = [name.strip() for name in only.split(",")] if only else list(NEEDS)
    if unknown := [name for name in chosen if name not in NEEDS]:
        raise SystemExit(f"--only must name some of {', '.join(NEEDS)}, got {', '.join(unknown)}")
    return [name for name in NEEDS if name in chosen or name == BASELINE]


def main() -> int:
    options = read_options()
    if options.measure:
        setup = Setup.from_json(os.environ["BENCH_SETUP"])
        if NEEDS[options.measure]:  # a framework
            mend_torchvision()
        importlib.import_module(_PROGRAMS[options.measure]).run(setup)
        return 0
    setup = build_setup(options)
    results, data_waits = compete(setup, choose_contenders(options.only))
    print("\n".join(describe_table(setup, results, data_waits=data_waits)))
    if options.json:
        measured = {name: each for name, each in results.items() if isinstance(each, Figures)}
        figures = {name: {"wall": each.wall, "processor": each.processor} for name, each in measured.items()}
        options.json.write_text(json.dumps(figures, indent=1))
    ours, bare = results.get("oarlock"), results[BASELINE]
    if not isinstance(bare, Figures) or (options.gate and not isinstance(ours, Figures)):
        return 1
    return (
        1 if options.gate and isinstance(ours, Figures) and statistics.median(compare(ours, bare)) < options.gate else 0
    )


if __name__ == "__main__":
    sys.exit(main())
