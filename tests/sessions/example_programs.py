"""Runs the program of an example as a rank would, in a process of its own."""

import os
import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run_program(example: str, environments: list[dict[str, str]], *arguments: str) -> None:
    """Run examples/<example>/train.py once with each of the environments, the steps growing from 20 by 20."""
    sys.path.insert(0, str(ROOT / "bench"))
    from speed.torchvision_beside_cpu import mend_torchvision

    mend_torchvision()
    for number, environment in enumerate(environments, start=1):
        os.environ |= environment
        sys.argv = ["train.py", *arguments, "--steps", str(20 * number)]
        runpy.run_path(str(ROOT / "examples" / example / "train.py"), run_name="__main__")
