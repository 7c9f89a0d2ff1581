"""Hugging Face's Trainer under Oarlock: a callback of a few lines tells how far it is, and a restart goes on from its checkpoints.

A tiny transformer learns whether a sequence holds more ones than zeros. By hand: python train.py --steps 60
"""

import argparse
import json
import os
from typing import Any

import torch
from torch.utils.data import Dataset
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_utils import get_last_checkpoint


class TellOarlock(TrainerCallback):
    """Appends a line of JSON to the progress file with every log of the Trainer."""

    def on_log(
        self,
        args: TrainingArguments,  # noqa: ARG002  # the Trainer's protocol
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        path = os.environ.get("OARLOCK_PROGRESS_FILE")
        if path and state.is_world_process_zero and logs and "loss" in logs:
            facts = {"step": state.global_step, "steps": state.max_steps, "epoch": state.epoch, "loss": logs["loss"]}
            with open(path, "a", encoding="utf-8") as file:  # noqa: PTH123  # as short as can be
                file.write(json.dumps(facts) + "\n")


class Majority(Dataset[dict[str, torch.Tensor]]):
    """Sequences of zeros and ones, and whether the ones are more."""

    def __init__(self, count: int) -> None:
        self.tokens = torch.randint(0, 2, (count, 15), generator=torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        tokens = self.tokens[index]
        return {"input_ids": tokens, "labels": (tokens.sum() > len(tokens) // 2).long()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=300)
    steps = parser.parse_args().steps
    config = BertConfig(vocab_size=2, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    folder = os.environ.get("OARLOCK_CHECKPOINT_DIR", "checkpoints")
    arguments = TrainingArguments(
        output_dir=folder,
        max_steps=steps,
        per_device_train_batch_size=32,
        learning_rate=3e-3,
        logging_steps=10,
        save_steps=100,
        save_total_limit=2,
        seed=int(os.environ.get("OARLOCK_SEED", "0")),
        use_cpu=not torch.cuda.is_available(),
        report_to=[],
        disable_tqdm=True,
    )
    trainer = Trainer(
        model=BertForSequenceClassification(config),
        args=arguments,
        train_dataset=Majority(4000),
        callbacks=[TellOarlock()],
    )
    again = os.environ.get("OARLOCK_RESUME_FROM")
    trainer.train(resume_from_checkpoint=get_last_checkpoint(again) if again else None)
    trainer.save_model(f"{folder}/final")


if __name__ == "__main__":
    main()
