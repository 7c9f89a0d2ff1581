"""Samples in memory and what is made of them before a step: the same hand-written code for every contender but Oarlock."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from speed.setup import DEVIATION, MEAN, SHIFT
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from oarlock_trainer.datasets import open_dataset


class Samples(Dataset[tuple[Tensor, Tensor]]):
    """All samples, as bytes. A whole batch is taken at once, which is as fast as a data loader gets."""

    def __init__(self, data: Path) -> None:
        split = open_dataset(data).split("train")
        images, labels = split.gather(np.arange(len(split)))
        self.images, self.labels = torch.from_numpy(images), torch.from_numpy(labels).long()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        return self.images[row], self.labels[row]

    def __getitems__(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        return self.images[rows], self.labels[rows]

    @staticmethod
    def keep_batch(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Take a batch as it is: there is nothing to put together."""
        return batch


def prepare(images: Tensor) -> Tensor:
    """Return bytes [N, H, W, C] as the model's input [N, C, H, W]: shifted at random, and normalised."""
    return (shift(images).permute(0, 3, 1, 2) - MEAN) * (1 / DEVIATION)


def shift(images: Tensor) -> Tensor:
    """Shift each image by up to `SHIFT` pixels, in one copy."""
    count, height, width, channels = images.shape
    padded = functional.pad(images, (0, 0, SHIFT, SHIFT, SHIFT, SHIFT)).view(-1)
    down, right = torch.randint(0, 2 * SHIFT + 1, (2, count), device=images.device)
    run = width * channels
    windows = padded.as_strided((padded.numel() - run + 1, run), (1, 1))
    first = torch.arange(count, device=images.device) * (height + 2 * SHIFT) + down
    starts = (first[:, None] + torch.arange(height, device=images.device)) * (run + 2 * SHIFT * channels)
    return windows.index_select(0, (starts + right[:, None] * channels).view(-1)).view(images.shape)
