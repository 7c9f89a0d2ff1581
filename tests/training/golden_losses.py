"""The losses of twenty steps of each model, as they were when they were last looked at.

`python tests/training/golden_losses.py` writes them anew; do that only when a change of the numbers is meant.
"""

import json
import sys
import tempfile
from pathlib import Path

from training.narrow_models import narrow_model

GOLDEN_FILE = Path(__file__).with_name("golden_losses.json")
THROUGH_THE_LOOP = ("lenet", "mlp", "resnet")
"""Trained as jobs are; the others by the fewest lines that train, which keeps twenty of them within seconds."""
STEPS = 20
_SIDE = 33
"""Of images: large enough that the last norms see more than one pixel, without which rounding grows by the step."""


def compute_losses(model: str, folder: Path, version: str) -> list[float]:
    """Train 20 steps with momentum, schedule, augmentation and label smoothing, and return the losses."""
    from training.small_runs import make_run, read_log, train_run

    recipe = {
        "optimizer": {"name": "sgd", "learningRate": 0.01},
        "loss": {"labelSmoothing": 0.1},
        "augment": {"shift": 2, "flip": "horizontal"},
        "validation": {"every": {"steps": STEPS}},
    }
    train_run(make_run(version, model=model, recipe=recipe, checkpointEvery={"steps": 100}), folder, name=model)
    return [line["train/loss"] for line in read_log(folder / model, "step")]


def compute_bare_losses(model: str) -> list[float]:
    """Train 20 steps on one batch of noise, and return the losses; the weights and the noise are drawn from seed 0."""
    import torch

    # Layers this small gain nothing by threads, and on a machine with other tests these wait for one another: minutes.
    torch.set_num_threads(1)
    torch.manual_seed(0)
    narrow = narrow_model(model, side=_SIDE)
    network, (inputs, targets) = narrow.build(), narrow.make_batch()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    losses = []
    for _ in range(STEPS):
        loss = narrow.compute_loss(network(inputs), targets)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return losses


def main() -> None:
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from training.small_runs import write_small_dataset

    from oarlock_api.zoo import BUILT_IN_MODELS

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        version = write_small_dataset(folder / "data")
        losses = {model: compute_losses(model, folder, version) for model in THROUGH_THE_LOOP}
    others = (model for model in BUILT_IN_MODELS if model not in THROUGH_THE_LOOP)
    losses |= {model: compute_bare_losses(model) for model in others}
    rounded = {model: [float(f"{loss:.7g}") for loss in each] for model, each in losses.items()}
    GOLDEN_FILE.write_text(json.dumps(rounded, indent=1) + "\n")


if __name__ == "__main__":
    main()
