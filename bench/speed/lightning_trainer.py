"""Lightning's Trainer as its documentation shows it; progress bar, logger and checkpoints are off, which costs it nothing."""

import os
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.plugins.environments import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy, Strategy
from speed.images import Samples, prepare
from speed.setup import Setup
from speed.turns import Turns
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader


class Classifier(lightning.LightningModule):
    def __init__(self, setup: Setup, device: torch.device) -> None:
        super().__init__()
        self.setup, self.model = setup, setup.build_model(device)

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        images, labels = batch
        return functional.cross_entropy(self.model(prepare(images)).float(), labels)

    def configure_optimizers(self) -> Any:
        optimizer = self.setup.build_optimizer(self.model)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=self.setup.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class TurnTaking(lightning.Callback):
    def __init__(self, turns: Turns) -> None:
        self.turns = turns

    def on_train_batch_end(self, *_: Any) -> None:
        self.turns.count_step()


def run(setup: Setup) -> None:
    """Train until the bench has seen enough."""
    device = setup.open_device(int(os.environ["LOCAL_RANK"]))
    loader = DataLoader(
        Samples(Path(os.environ["OARLOCK_DATA_DIR"])),
        batch_size=setup.share,
        shuffle=True,
        drop_last=True,
        num_workers=setup.workers,
        persistent_workers=setup.workers > 0,
        pin_memory=setup.gpu,
        collate_fn=Samples.keep_batch,
    )
    trainer = lightning.Trainer(
        accelerator="gpu" if setup.gpu else "cpu",
        devices=setup.processes,
        strategy=choose_strategy(setup, device),
        plugins=[TorchElasticEnvironment()] if setup.processes > 1 else [],
        precision="bf16-mixed" if setup.bf16 else "32-true",
        max_steps=setup.steps + setup.stretch,
        max_epochs=-1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[TurnTaking(Turns(stretch=setup.stretch, device=device))],
    )
    trainer.fit(Classifier(setup, device), loader)


def choose_strategy(setup: Setup, device: torch.device) -> Strategy:
    if setup.processes == 1:
        return SingleDeviceStrategy(device=device)
    return DDPStrategy(process_group_backend="nccl" if setup.gpu else "gloo", gradient_as_bucket_view=True)
