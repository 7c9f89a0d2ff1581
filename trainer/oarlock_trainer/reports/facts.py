"""What a report shows, as plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """One line of a chart."""

    name: str
    points: Points
    """By x, ascending."""
    marks: bool = False
    """Whether the points are few and each is shown."""
    colour: int | None = None
    """Number of its colour, if it has the same on all charts; None: by its place."""
    reference: bool = False
    """Whether it only shows where chance, or nothing, would be."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """Curves over the same axes."""

    title: str
    curves: tuple[Curve, ...]
    unit: str = "1"
    """As in `oarlock_api.metrics`."""
    across: str = "epoch"
    """What the horizontal axis is."""
    bounds: tuple[float, float] | None = None
    """Of both axes; None: those of the points."""
    stacked: bool = False
    """Whether the curves are parts of a whole, with points at the same places: they are laid one on top of the other."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """A part of a whole."""

    name: str
    seconds: float
    about: str = ""
    colour: int = 7
    """Number of its colour."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorstSample:
    """A sample about which the model is as wrong as can be."""

    number: int
    """Its place in the split."""
    loss: float
    truth: str = ""
    said: str = ""
    confidence: float | None = None
    """Probability that the model gave to what it said."""
    pictures: tuple[tuple[str, str], ...] = ()
    """Caption and PNG, as base64."""
    text: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """What a look at the validation split found."""

    samples: int
    """Samples looked at."""
    of: int
    """Samples that there are."""
    unit: str = "samples"
    """What the matrix counts."""
    confusion: list[list[int]] | None = None
    """[true class][predicted class]."""
    per_class: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    """Column by its name; None where it is not defined."""
    charts: tuple[Chart, ...] = ()
    """ROC and precision-recall."""
    worst: tuple[WorstSample, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """Something that happened at a time."""

    time: float
    """Seconds since 1970."""
    kind: str
    """`checkpoint`, `best`, `validation`, `warning` or `end`."""
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One start of the training processes, until they ended or were seen last."""

    name: str
    began: float
    ended: float
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A row of the table of checkpoints."""

    step: int
    epoch: float | None
    """None where the run has no epochs."""
    time: float
    bytes: int
    stall: float | None
    durable: float | None
    metric: float | None
    is_best: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportFacts:
    """All that a report shows."""

    title: str
    subtitle: str
    state: str
    """How the run stands: `trained`, `running` or `stopped`; empty if nobody knows."""
    headline: tuple[tuple[str, str, str], ...] = ()
    """Name, value, and a word about it."""
    charts: tuple[Chart, ...] = ()
    pace: tuple[Chart, ...] = ()
    shares: tuple[Share, ...] = ()
    """What the time went on."""
    traces: tuple[str, ...] = ()
    """Timelines of some steps: files in the run's folder."""
    classes: tuple[str, ...] = ()
    findings: Findings | None = None
    attempts: tuple[Attempt, ...] = ()
    moments: tuple[Moment, ...] = ()
    checkpoints: tuple[Checkpoint, ...] = ()
    best_by: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    dataset: Mapping[str, Any] = field(default_factory=dict)
    system: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[tuple[int, str], ...] = ()
    """Step and text."""
    made: float = 0.0
    """Seconds since 1970."""
    version: str = ""
    """Of Oarlock."""
