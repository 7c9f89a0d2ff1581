"""Trains every example with a target through `oarlock run`, and compares what its model reaches with the target.

Each example is prepared by its own `prepare.py` where it has one, from data that a package ships, and trained with its manifests as
they are. The table gives the metric of the best checkpoint, the target, and the minutes that training took on this machine.
Exit code 1 if a target is missed, or reached too late.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What an example must reach."""

    example: str
    metric: str
    least: float
    minutes: float
    """The most that training may take on two cores that have nothing else to do."""
    describe: str


TARGETS = (
    Target(example="mnist", metric="accuracy", least=0.98, minutes=3, describe="LeNet, 5,000 digits"),
    Target(example="fashion", metric="accuracy", least=0.93, minutes=15, describe="ResNet, Fashion-MNIST"),
    Target(example="brain", metric="dice", least=0.95, minutes=5, describe="U-Net, MNI152 slices"),
    Target(example="digits-detection", metric="map50", least=0.9, minutes=15, describe="CenterNet, composited digits"),
    Target(example="siamese", metric="accuracy", least=0.97, minutes=2, describe="siamese LeNet, pairs of digits"),
    Target(example="fine-tuning", metric="accuracy", least=0.9, minutes=2, describe="LeNet, 90 other digits"),
    Target(example="spam", metric="accuracy", least=0.98, minutes=5, describe="text CNN, e-mails"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reached:
    """How an example went."""

    target: Target
    value: float | None
    minutes: float

    @property
    def is_enough(self) -> bool:
        return self.value is not None and self.value >= self.target.least

    @property
    def is_in_time(self) -> bool:
        return self.minutes <= self.target.minutes


def prepare(example: str) -> None:
    """Make the example's data, which it keeps for the next time."""
    script = EXAMPLES / example / "prepare.py"
    if script.exists() and not (script.parent / "data").exists():
        print(f"== {example}: preparing its data ({script.relative_to(ROOT)})", flush=True)
        subprocess.run([sys.executable, str(script)], check=True, cwd=script.parent)


def train(target: Target, runs: Path) -> Reached:
    """Run the example and return what its best checkpoint reached."""
    print(f"== {target.example}: {target.describe}, at least {target.least:.0%} {target.metric}", flush=True)
    began = time.monotonic()
    oarlock = Path(sys.executable).with_name("oarlock")
    command = [str(oarlock), "run", str(EXAMPLES / target.example), "--runs", str(runs), "--output", "json"]
    ended = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    seconds = time.monotonic() - began
    job = find_job(ended.stdout)
    return Reached(target=target, value=job.get("best", {}).get("value"), minutes=job.get("seconds", seconds) / 60)


def find_job(output: str) -> dict[str, Any]:
    """Return the TrainingJob in what `oarlock run --output json` printed; of several the last, which begins with another's weights."""
    objects: list[dict[str, Any]] = json.loads(output).get("objects", []) if output.strip() else []
    return next((item for item in reversed(objects) if item.get("kind") == "TrainingJob"), {})


def print_table(reached: list[Reached]) -> None:
    print(f"\n{'example':<18}{'model and data':<32}{'metric':<10}{'reached':>9}{'target':>9}{'minutes':>9}{'limit':>7}")
    for row in reached:
        target, value = row.target, "none" if row.value is None else f"{row.value:.2%}"
        mark = "" if row.is_enough else "   MISSED"
        late = "" if row.is_in_time else "   LATE"
        print(
            f"{target.example:<18}{target.describe:<32}{target.metric:<10}{value:>9}{target.least:>9.0%}"
            f"{row.minutes:>9.1f}{target.minutes:>7.0f}{mark}{late}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [target.example for target in TARGETS]
    parser.add_argument("examples", nargs="*", metavar="EXAMPLE", help=f"of {', '.join(names)}; all by default")
    parser.add_argument("--runs", type=Path, help="keep data sets and models in this folder; else a temporary one")
    parser.add_argument("--any-time", action="store_true", help="the machine has other things to do: only values count")
    options = parser.parse_args()
    unknown = set(options.examples) - set(names)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: must be of {', '.join(names)}")
    chosen = [target for target in TARGETS if not options.examples or target.example in options.examples]
    with tempfile.TemporaryDirectory() as folder:
        runs = options.runs or Path(folder)
        reached = []
        for target in chosen:
            prepare(target.example)
            reached.append(train(target, runs))
    print_table(reached)
    in_time = options.any_time or all(row.is_in_time for row in reached)
    return 0 if in_time and all(row.is_enough for row in reached) else 1


if __name__ == "__main__":
    sys.exit(main())
