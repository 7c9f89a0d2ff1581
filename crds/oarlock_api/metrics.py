"""The one table of training metrics.

From it come the API's enumeration (`keepBest.metric`), the Prometheus names, the run log's keys and the status' figures, so
that a figure has one name, one unit and one direction everywhere. Standard library only: the agent reads it in any image.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

PROMETHEUS_PREFIX = "oarlock_trainer_"
VALIDATION_LOSS = "validation/loss"
"""What every validation of a model measures."""


class Direction(StrEnum):
    """Which way a metric improves."""

    MIN = "min"
    MAX = "max"
    NONE = "none"


class Aggregation(StrEnum):
    """How the ranks' values become the job's value."""

    WEIGHTED_MEAN = "weightedMean"
    SUM = "sum"
    MAX = "max"
    FIRST = "first"
    LONGEST_WAIT = "longestWait"
    """That of the rank which waits longest for its data, since the others wait for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """One figure that a training run reports."""

    name: str
    """Key in the status and in the run log."""
    family: str
    """Prometheus name without the prefix, in base units."""
    unit: str
    """Unit of the value; `ratio` is 0 to 1."""
    help: str
    direction: Direction = Direction.NONE
    aggregation: Aggregation = Aggregation.FIRST
    labels: tuple[tuple[str, str], ...] = field(default=())

    @property
    def prometheus_name(self) -> str:
        return PROMETHEUS_PREFIX + self.family


_SUFFIXES = frozenset({"ratio", "decibels"})
_CAPITAL = re.compile("[A-Z]")


def _lower(capital: re.Match[str]) -> str:
    return f"_{capital.group().lower()}"


def _split_metric(split: str, quantity: str, *, unit: str, direction: Direction, description: str) -> Metric:
    suffix = f"_{unit}" if unit in _SUFFIXES else ""
    return Metric(
        name=f"{split}/{quantity}",
        family=f"{_CAPITAL.sub(_lower, quantity)}{suffix}",
        unit=unit,
        help=description,
        direction=direction,
        aggregation=Aggregation.WEIGHTED_MEAN,
        labels=(("split", split),),
    )


_QUANTITIES: tuple[tuple[str, str, Direction, str], ...] = (
    ("loss", "nats", Direction.MIN, "Mean loss per sample."),
    ("accuracy", "ratio", Direction.MAX, "Share of samples whose class is predicted."),
    ("topFiveAccuracy", "ratio", Direction.MAX, "Share of samples whose class is among the five most probable."),
    (
        "dice",
        "ratio",
        Direction.MAX,
        "Dice coefficient of predicted and true pixels, mean over the foreground classes.",
    ),
    ("iou", "ratio", Direction.MAX, "Intersection over union of predicted and true pixels, mean over the classes."),
    ("pixelAccuracy", "ratio", Direction.MAX, "Share of pixels whose class is predicted."),
    ("map50", "ratio", Direction.MAX, "Average precision of boxes at an overlap of one half, mean over the classes."),
    ("peakSignalToNoise", "decibels", Direction.MAX, "Peak signal-to-noise ratio of all predicted pixels."),
    ("meanAbsoluteError", "ratio", Direction.MIN, "Mean absolute difference of pixels, which range from 0 to 1."),
)
"""What tasks measure on a split: name, unit, direction, meaning; what judges a task best comes first."""
_MEASURED_WHILE_TRAINING = frozenset({"loss", "accuracy", "pixelAccuracy", "meanAbsoluteError"})

COMPUTING_PARTS = ("prepareSeconds", "forwardSeconds", "backwardSeconds", "optimizerSeconds", "otherSeconds")
"""What computing is made of, in the order of a step: augmentation and normalisation; network and loss; gradients, with their
exchange; clipping, update, average of the weights; and the rest: bookkeeping, what a checkpoint takes of a step."""
_STEP_PARTS_HELP = "Part of a step by what it went on; together they are the whole step."

METRICS: tuple[Metric, ...] = (
    *(
        _split_metric(split, name, unit=unit, direction=direction, description=description)
        for split in ("train", "validation")
        for name, unit, direction, description in _QUANTITIES
        if split == "validation" or name in _MEASURED_WHILE_TRAINING
    ),
    Metric(name="learningRate", family="learning_rate", unit="1", help="Learning rate of the first parameter group."),
    Metric(name="gradientNorm", family="gradient_norm", unit="1", help="L2 norm of the gradient before clipping."),
    Metric(
        name="samplesPerSecond",
        family="samples_per_second",
        unit="1/s",
        help="Training samples per second over the last reporting window, all processes together.",
        direction=Direction.MAX,
    ),
    Metric(
        name="stepSeconds",
        family="step_seconds",
        unit="s",
        help="Mean duration of a step over the last reporting window.",
        direction=Direction.MIN,
        aggregation=Aggregation.MAX,
    ),
    Metric(
        name="dataWaitSeconds",
        family="step_phase_seconds",
        unit="s",
        help=_STEP_PARTS_HELP,
        direction=Direction.MIN,
        aggregation=Aggregation.MAX,
        labels=(("phase", "data_wait"),),
    ),
    Metric(
        name="computeSeconds",
        family="step_compute_seconds",
        unit="s",
        help="All of a step but waiting for data: the sum of the other parts.",
        aggregation=Aggregation.MAX,
    ),
    *(
        Metric(
            name=name,
            family="step_phase_seconds",
            unit="s",
            help=_STEP_PARTS_HELP,
            aggregation=Aggregation.LONGEST_WAIT,
            labels=(("phase", name.removesuffix("Seconds")),),
        )
        for name in COMPUTING_PARTS
    ),
    Metric(
        name="validationSeconds",
        family="validation_seconds",
        unit="s",
        help="Time for which the last validation held up training.",
        direction=Direction.MIN,
    ),
    Metric(
        name="gpuMemoryBytes",
        family="gpu_memory_bytes",
        unit="bytes",
        help="Memory of rank 0's GPU that tensors hold at present.",
        labels=(("kind", "allocated"),),
    ),
    Metric(
        name="gpuMemoryPeakBytes",
        family="gpu_memory_bytes",
        unit="bytes",
        help="The most of it that they have held.",
        labels=(("kind", "peak"),),
    ),
    Metric(
        name="gpuMemoryReservedBytes",
        family="gpu_memory_bytes",
        unit="bytes",
        help="What the process has taken of it for tensors to come.",
        labels=(("kind", "reserved"),),
    ),
    Metric(
        name="checkpointStallSeconds",
        family="checkpoint_stall_seconds",
        unit="s",
        help="Time for which the last checkpoint held up training.",
        direction=Direction.MIN,
        aggregation=Aggregation.MAX,
    ),
    Metric(
        name="checkpointDurableSeconds",
        family="checkpoint_durable_seconds",
        unit="s",
        help="Time from the start of the last checkpoint until it was verified on the volume.",
        direction=Direction.MIN,
        aggregation=Aggregation.MAX,
    ),
)

METRICS_BY_NAME: dict[str, Metric] = {metric.name: metric for metric in METRICS}

RESERVED_NAMES = frozenset({"kind", "step", "time", "epoch", "attempt", "nonFinite"})
"""What a line of the run log says of itself beside its figures: no figure of a program may be called so."""

RANKABLE_METRICS: tuple[str, ...] = tuple(
    metric.name
    for metric in METRICS
    if metric.name.startswith("validation/") and metric.direction is not Direction.NONE
)
"""Metrics by which a checkpoint can be the best one."""


def find_figure(split: str, metrics: Mapping[str, float]) -> str:
    """Return the name of what a split is judged by besides its loss: the first of the table that `metrics` has; or nothing."""
    others = (name for name in METRICS_BY_NAME if name.startswith(f"{split}/") and not name.endswith("/loss"))
    return next((name for name in others if name in metrics), "")


def show_metric(name: str, value: float) -> str:
    """Return a value as people read it, after the metric's name without its split: `accuracy 97.50 %`."""
    unit = METRICS_BY_NAME[name].unit if name in METRICS_BY_NAME else ""
    shown = {"ratio": f"{100 * value:.2f} %", "decibels": f"{value:.2f} dB"}.get(unit, f"{value:.4g}")
    return f"{name.rpartition('/')[2]} {shown}"


def is_better(name: str, candidate: float, incumbent: float) -> bool:
    """Say whether `candidate` improves on `incumbent` for the metric `name`.

    Raises:
        KeyError: if the table has no such metric.
    """
    if METRICS_BY_NAME[name].direction is Direction.MIN:
        return candidate < incumbent
    return candidate > incumbent


def is_as_good(name: str, candidate: float, incumbent: float) -> bool:
    """Say whether `candidate` is at least as good as `incumbent`: of two checkpoints that are, the later has learned more.

    Raises:
        KeyError: if the table has no such metric.
    """
    return candidate == incumbent or is_better(name, candidate, incumbent)


def outranks(name: str, candidate: Mapping[str, Any], incumbent: Mapping[str, Any]) -> bool:
    """Say whether a validation is to count as the best instead of an earlier one: by `name`; of equals, if its loss is not greater.

    Args:
        name: the metric that ranks.
        candidate: figures of the later validation by their names; one without a loss has the greatest.
        incumbent: those of the earlier one.

    Raises:
        KeyError: if the table has no such metric, or one of the two lacks it.
    """
    if candidate[name] != incumbent[name]:
        return is_better(name, candidate[name], incumbent[name])
    return bool(candidate.get(VALIDATION_LOSS, math.inf) <= incumbent.get(VALIDATION_LOSS, math.inf))
