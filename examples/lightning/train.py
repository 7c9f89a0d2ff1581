"""Lightning's Trainer under Oarlock: a callback of a few lines tells how far it is, and a restart goes on from its checkpoint.

A small network learns a sine. By hand: python train.py --steps 200
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

EVERY = 20


class TellOarlock(Callback):
    """Appends a line of JSON to the progress file every few steps."""

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        module: lightning.LightningModule,  # noqa: ARG002  # Lightning's protocol
        outputs: Any,
        *_: Any,
    ) -> None:
        path, step = os.environ.get("OARLOCK_PROGRESS_FILE"), trainer.global_step
        if path and trainer.is_global_zero and step % EVERY == 0:
            facts = {
                "step": step,
                "steps": trainer.max_steps,
                "epoch": trainer.current_epoch,
                "loss": float(outputs["loss"]),
            }
            with open(path, "a", encoding="utf-8") as file:  # noqa: PTH123  # as short as can be
                file.write(json.dumps(facts) + "\n")


class Sine(lightning.LightningModule):
    """A network of two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(1, 64), nn.Tanh(), nn.Linear(64, 1))

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        return nn.functional.mse_loss(self.network(x), y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.01)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=1000)
    steps = parser.parse_args().steps
    lightning.seed_everything(int(os.environ.get("OARLOCK_SEED", "0")))
    x = torch.rand(4000, 1) * 6 - 3
    data = DataLoader(TensorDataset(x, torch.sin(x)), batch_size=64, shuffle=True)
    folder = Path(os.environ.get("OARLOCK_CHECKPOINT_DIR", "checkpoints"))
    last = folder / "last.ckpt"
    trainer = lightning.Trainer(
        max_steps=steps,
        max_epochs=-1,
        accelerator="auto",
        devices=int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
        num_nodes=int(os.environ.get("OARLOCK_NODES", "1")),
        callbacks=[TellOarlock(), ModelCheckpoint(folder, every_n_train_steps=200, save_last=True)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Sine(), data, ckpt_path=str(last) if os.environ.get("OARLOCK_RESUME_FROM") and last.exists() else None)


if __name__ == "__main__":
    main()
