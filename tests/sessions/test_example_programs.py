"""The programs of the examples run, tell their progress, and go on from what they saved."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from sessions.adversaries import make_variables
from sessions.example_programs import run_program
from training.forked_ranks import run_ranks

from oarlock_trainer.agent.program_progress import parse_line
from oarlock_trainer.datasets import write_dataset
from oarlock_trainer.reports.reading import read_facts


@pytest.mark.parametrize(
    ("example", "libraries"), [("huggingface", ("transformers", "accelerate")), ("lightning", ("lightning",))]
)
def test_program_of_a_framework_tells_its_steps_and_goes_on(
    example: str, libraries: tuple[str, ...], tmp_path: Path
) -> None:
    missing = [name for name in libraries if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"NOT RUN: {', '.join(missing)} not installed (pip install 'oarlock[bench]')")
    kept = str(tmp_path / "kept")  # with one thread: accelerate would take all that there are
    first, second = tmp_path / "first", tmp_path / "second"
    environments = [
        {"OMP_NUM_THREADS": "1", "OARLOCK_PROGRESS_FILE": str(first), "OARLOCK_CHECKPOINT_DIR": kept},
        {"OARLOCK_PROGRESS_FILE": str(second), "OARLOCK_CHECKPOINT_DIR": kept, "OARLOCK_RESUME_FROM": kept},
    ]

    run_ranks(1, run_program, example, environments)

    told, then = ([parse_line(line) for line in path.read_bytes().splitlines()] for path in (first, second))
    assert (told[-1].step, told[-1].steps, then[-1].step) == (20, 20, 40)
    assert (then[0].step or 0) > 20
    assert all(line.metrics["train/loss"] > 0 for line in (*told, *then))


def test_gan_trains_two_networks_and_exports_what_it_makes(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (40, 28, 28, 1)).astype(np.uint8)
    splits = {"train": (images, np.arange(40) % 2), "validation": (images[:4], np.arange(4) % 2)}
    write_dataset(tmp_path / "data", classes=["a", "b"], splits=splits)
    variables = make_variables(tmp_path / "run")
    environments = [variables | {"OARLOCK_DATA_DIR": str(tmp_path / "data"), "OARLOCK_ATTEMPT": "0"}]

    run_ranks(1, run_program, "gan", environments, "--batch-size", "4")

    assert len((tmp_path / "run/export/digits.pgm").read_bytes()) > 224 * 224
    lines = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    steps = [line for line in lines if line["kind"] == "step"]
    assert len(steps) == 20
    facts = read_facts(tmp_path / "run", now=1.0)
    assert [(chart.title, chart.across) for chart in facts.charts] == [
        ("Loss", "epoch"),
        ("discriminator/loss", "epoch"),
    ]
    assert (facts.state, facts.recipe["steps"], facts.dataset["counts"]["train"]) == ("trained", 20, 40)
    assert all(line["train/loss"] > 0 and line["discriminator/loss"] > 0 for line in steps)
