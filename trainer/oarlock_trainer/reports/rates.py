"""ROC and precision-recall: how a classifier does at every threshold, one class against the rest. Pure.

A class that no sample has, or that all have, has no curve.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oarlock_trainer.reports.facts import Chart, Curve

_MOST_CURVES = 6
_POINTS = 120

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """One class against the rest, by falling threshold."""

    false_positive: Floats
    recall: Floats
    precision: Floats
    area: float
    """Under the ROC curve: the probability that a sample of the class scores above one of the rest."""
    average_precision: float


def compute_rates(scores: Floats, is_class: NDArray[np.bool_]) -> Rates | None:
    """Return the rates of scores [N] for samples that are of the class, or not; None without some of either."""
    positives = int(is_class.sum())
    if positives in (0, len(is_class)):
        return None
    order = np.argsort(-scores, kind="stable")
    hits, ranked = np.cumsum(is_class[order]), scores[order]
    # Samples that score alike are on the same side of every threshold.
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    true, taken = hits[ends].astype(np.float64), ends + 1.0
    recall, false = true / positives, (taken - true) / (len(is_class) - positives)
    precision = true / taken
    fpr, tpr = np.append(0.0, false), np.append(0.0, recall)
    return Rates(
        false_positive=fpr,
        recall=tpr,
        precision=np.append(precision[0], precision),
        area=float(np.sum(np.diff(fpr) * (tpr[1:] + tpr[:-1]) / 2)),
        average_precision=float(np.sum(np.diff(tpr) * precision)),
    )


def build_rate_charts(rates: Sequence[Rates | None], classes: Sequence[str]) -> tuple[Chart, ...]:
    """Return both charts: of two classes the second, of a few all, of many those that are told apart worst."""
    known = [(name, rate) for name, rate in zip(classes, rates, strict=True) if rate is not None]
    if len(classes) == 2:  # noqa: PLR2004  # one curve mirrors the other
        known = known[1:]
    about = ""
    if len(known) > _MOST_CURVES:
        known = sorted(known, key=lambda item: item[1].area)[:_MOST_CURVES]
        about = f" (the {_MOST_CURVES} hardest classes)"
    if not known:
        return ()
    chance = Curve(name="chance", points=[(0.0, 0.0), (1.0, 1.0)], reference=True)
    roc = [Curve(name=f"{name} {r.area:.3f}", points=_thin(r.false_positive, r.recall)) for name, r in known]
    precision = [
        Curve(name=f"{name} {r.average_precision:.3f}", points=_thin(r.recall, r.precision)) for name, r in known
    ]
    kind = {"unit": "ratio", "bounds": (0.0, 1.0)}
    return (
        Chart(title=f"ROC, with the area under it{about}", across="false positive rate", curves=(*roc, chance), **kind),  # type: ignore[arg-type]  # a literal of mixed values
        Chart(title=f"Precision by recall, with its mean{about}", across="recall", curves=tuple(precision), **kind),  # type: ignore[arg-type]
    )


def _thin(across: Floats, up: Floats) -> list[tuple[float, float]]:
    """Return some points, evenly spread along the curve's own length."""
    lengths = np.append(0.0, np.cumsum(np.abs(np.diff(across)) + np.abs(np.diff(up))))
    places = np.unique(np.searchsorted(lengths, np.linspace(0, lengths[-1], _POINTS)).clip(0, len(across) - 1))
    return [(round(float(across[i]), 4), round(float(up[i]), 4)) for i in places]
