"""Hugging Face's Trainer with the optimizer of the others; its logs, reports and checkpoints are off, and so is clipping."""

import os
from pathlib import Path
from typing import Any

import torch
from speed.images import Samples, prepare
from speed.setup import Setup
from speed.turns import Turns
from torch import Tensor, nn
from torch.nn import functional
from transformers import Trainer, TrainerCallback, TrainingArguments


class Classifier(nn.Module):
    """The model with its loss, as the Trainer asks for it."""

    def __init__(self, setup: Setup, device: torch.device) -> None:
        super().__init__()
        self.model = setup.build_model(device)

    def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        outputs = self.model(prepare(images))
        return {"loss": functional.cross_entropy(outputs.float(), labels)}


class TurnTaking(TrainerCallback):
    def __init__(self, turns: Turns) -> None:
        self.turns = turns

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.turns.count_step()


def name_columns(batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    images, labels = batch
    return {"images": images, "labels": labels}


def run(setup: Setup) -> None:
    """Train until the bench has seen enough."""
    device = setup.open_device(int(os.environ["LOCAL_RANK"]))
    arguments = TrainingArguments(
        output_dir=os.environ["OARLOCK_RUN_DIR"],
        max_steps=setup.steps + setup.stretch,
        per_device_train_batch_size=setup.share,
        dataloader_num_workers=setup.workers,
        dataloader_persistent_workers=setup.workers > 0,
        dataloader_pin_memory=setup.gpu,
        dataloader_drop_last=True,
        remove_unused_columns=False,
        max_grad_norm=0.0,
        bf16=setup.bf16,
        use_cpu=not setup.gpu,
        ddp_backend="nccl" if setup.gpu else "gloo",
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    model = Classifier(setup, device)
    optimizer = setup.build_optimizer(model)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=setup.steps)
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=Samples(Path(os.environ["OARLOCK_DATA_DIR"])),
        data_collator=name_columns,
        optimizers=(optimizer, schedule),
        callbacks=[TurnTaking(Turns(stretch=setup.stretch, device=device))],
    )
    trainer.train()
