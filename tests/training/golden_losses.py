"""The losses of twenty steps of each model, as they were when they were last looked at.

`python tests/training/golden_losses.py` writes them anew; do that only when a change of the numbers is meant.
"""

import json
import sys
import tempfile
from pathlib import Path

GOLDEN_FILE = Path(__file__).with_name("golden_losses.json")
MODELS = ("lenet", "mlp", "resnet")


def compute_losses(model: str, folder: Path, version: str) -> list[float]:
    """Train 20 steps with momentum, schedule, augmentation and label smoothing, and return the losses."""
    from training.small_runs import make_run, read_log, train_run

    recipe = {
        "optimizer": {"name": "sgd", "learningRate": 0.01},
        "loss": {"labelSmoothing": 0.1},
        "augment": {"shift": 2, "flip": "horizontal"},
        "validation": {"every": {"steps": 20}},
    }
    train_run(make_run(version, model=model, recipe=recipe, checkpointEvery={"steps": 100}), folder, name=model)
    return [line["train/loss"] for line in read_log(folder / model, "step")]


def main() -> None:
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from training.small_runs import write_small_dataset

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        version = write_small_dataset(folder / "data")
        losses = {model: compute_losses(model, folder, version) for model in MODELS}
    GOLDEN_FILE.write_text(json.dumps(losses, indent=1) + "\n")


if __name__ == "__main__":
    main()
