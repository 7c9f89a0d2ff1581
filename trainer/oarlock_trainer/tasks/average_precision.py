"""Average precision of boxes as sums: hits and misses by class and score, so that it adds up over batches and ranks exactly.

Scores are told apart in 1,000 steps; within one step hits and misses count as found at once. The precision is made monotone
and integrated over all recalls, as VOC has done since 2010.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SCORES = 1000
OVERLAP = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Counted:
    """Counts by class; scores fall from left to right."""

    hits: NDArray[np.float64]
    """[classes, scores]: boxes found with at least this score."""
    misses: NDArray[np.float64]
    """[classes, scores]: boxes said with at least this score that are not there."""
    boxes: NDArray[np.float64]
    """[classes]: boxes that are there."""


def count_tallies(classes: int) -> int:
    """Return the length of what `count_matches` returns."""
    return classes * (2 * SCORES + 1)


def count_matches(predicted: Tensor, boxes: Tensor, *, classes: int) -> Tensor:
    """Return float64 [tallies] of predictions [N, K, 6], best first, for true boxes [N, M, 5]."""
    hits = match_boxes(predicted, boxes)
    places = predicted[:, :, 0].to(torch.int64) * SCORES
    places = places + ((1 - predicted[:, :, 1]) * SCORES).to(torch.int64).clamp(0, SCORES - 1)
    misses = (predicted[:, :, 1] > 0) & ~hits
    found = (torch.bincount(places[chosen], minlength=classes * SCORES) for chosen in (hits, misses))
    kinds = boxes[:, :, 0]
    there = torch.bincount(kinds[kinds >= 0].to(torch.int64), minlength=classes)
    return torch.cat((*found, there)).double()


def match_boxes(predicted: Tensor, boxes: Tensor) -> Tensor:
    """Return bool [N, K]: whether a prediction, best first, is of a true box of its class that no better one has taken.

    What has a score of 0 was not said.
    """
    overlaps = measure_overlaps(predicted[:, :, 2:], boxes[:, :, 1:])
    overlaps = overlaps * ((predicted[:, :, None, 0] == boxes[:, None, :, 0]) & (predicted[:, :, None, 1] > 0))
    taken = torch.zeros(boxes.shape[:2], dtype=torch.bool, device=boxes.device)
    hits = []
    for overlap in overlaps.unbind(dim=1):
        best, which = (overlap * ~taken).max(dim=1)
        hit = best >= OVERLAP
        hits.append(hit)
        taken = taken | (hit[:, None] & (torch.arange(boxes.shape[1], device=boxes.device) == which[:, None]))
    return torch.stack(hits, dim=1)


def measure_overlaps(first: Tensor, second: Tensor) -> Tensor:
    """Return [N, K, M]: intersection over union of boxes [N, K, 4] and [N, M, 4] of centre, width and height."""
    low = torch.maximum(_corner(first, -1)[:, :, None], _corner(second, -1)[:, None])
    high = torch.minimum(_corner(first, 1)[:, :, None], _corner(second, 1)[:, None])
    both = (high - low).clamp(min=0).prod(dim=3)
    either = first[:, :, None, 2:].prod(dim=3) + second[:, None, :, 2:].prod(dim=3) - both
    return both / either.clamp(min=1e-9)


def _corner(boxes: Tensor, side: int) -> Tensor:
    return boxes[:, :, :2] + side * boxes[:, :, 2:] / 2


def cumulate(tallies: NDArray[np.float64], *, classes: int) -> Counted:
    """Return the counts that tallies hold."""
    hits, misses = (
        np.cumsum(part.reshape(classes, SCORES), axis=1) for part in np.split(tallies[: 2 * classes * SCORES], 2)
    )
    return Counted(hits=hits, misses=misses, boxes=tallies[2 * classes * SCORES :])


def compute_average_precision(tallies: NDArray[np.float64], *, classes: int) -> NDArray[np.float64]:
    """Return the average precision of each class; NaN for one that is nowhere."""
    counted = cumulate(tallies, classes=classes)
    precision = counted.hits / np.maximum(1, counted.hits + counted.misses)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = counted.hits / counted.boxes[:, None]
    steps = np.diff(recall, axis=1, prepend=0)
    return np.where(counted.boxes > 0, (steps * envelope).sum(axis=1), np.nan)
