"""Which charts the log of a run gives: the table's figures first, then those that a program of the user's has of its own. Pure.

Their horizontal axis is the epoch. A program need not say what an epoch is: then it is the step.
"""

from collections.abc import Iterable, Iterator, Sequence

from oarlock_api.metrics import METRICS, METRICS_BY_NAME, RESERVED_NAMES
from oarlock_trainer.reports.facts import Chart, Curve
from oarlock_trainer.reports.log_reading import Line, Log
from oarlock_trainer.reports.step_times import build_step_chart
from oarlock_trainer.reports.wording import say_title

MOST_OWN = 24
"""Charts of figures that are not in the table."""
_MEMORY = (("gpuMemoryReservedBytes", "reserved"), ("gpuMemoryPeakBytes", "peak"), ("gpuMemoryBytes", "in use"))
_SPLITS = ("train", "validation")
_NO_FIGURES = RESERVED_NAMES | {"message", "seconds"}


def choose_axis(log: Log) -> str:
    """Return `epoch` if the log tells it throughout, else `step`: the key in its lines, and the word for it."""
    lines = [*log.steps, *log.validations, *log.paces]
    tells_epochs = all("epoch" in line for line in lines) and any(line["epoch"] > 0 for line in lines)
    return "epoch" if tells_epochs or not lines else "step"


def list_charts(log: Log) -> Iterator[Chart]:
    """Return the learning curves, a chart for each quantity."""
    across = choose_axis(log)
    known = dict.fromkeys(metric.name.partition("/")[2] for metric in METRICS if "/" in metric.name)
    for quantity in known:
        names = {split: f"{split}/{quantity}" for split in _SPLITS}
        unit = METRICS_BY_NAME[f"validation/{quantity}"].unit
        yield from _build_chart(log, say_title(quantity), names, unit=unit, across=across)
    for name, title, label in (
        ("learningRate", "Learning rate", "of the first parameter group"),
        ("gradientNorm", "Gradient norm", "before clipping"),
    ):
        if points := _collect(log.steps, name, across):
            yield Chart(title=title, across=across, curves=(Curve(name=label, points=points),))
    for quantity in list_own_quantities(log)[:MOST_OWN]:
        names = {"train": quantity, "validation": f"validation/{quantity}"}
        yield from _build_chart(log, quantity, names, unit="1", across=across)


def list_own_quantities(log: Log) -> list[str]:
    """Return what a program tells beside the table's figures, in its order."""
    steps = dict.fromkeys(name for line in log.steps for name in line)
    validations = dict.fromkeys(name for line in log.validations for name in line)
    own = [name for name in steps if name not in METRICS_BY_NAME and name not in _NO_FIGURES]
    validated = [name for name in validations if name not in METRICS_BY_NAME and name.startswith("validation/")]
    return list(dict.fromkeys([*own, *(name.removeprefix("validation/") for name in validated)]))


def list_pace_charts(log: Log) -> Iterator[Chart]:
    """Return how fast the run was, as it went on; charts without a curve among them."""
    across = choose_axis(log)
    rate = _list_pace_curves(log, (("samplesPerSecond", "samples per second"),), across)
    yield Chart(title="Throughput", unit="1/s", across=across, curves=rate)
    yield build_step_chart(log, across)
    memory = _list_pace_curves(log, _MEMORY, across)
    yield Chart(title="GPU memory of rank 0", unit="bytes", across=across, curves=memory)


def _list_pace_curves(log: Log, columns: Iterable[tuple[str, str]], across: str) -> tuple[Curve, ...]:
    curves = (Curve(name=label, points=_collect(log.paces, name, across)) for name, label in columns)
    return tuple(curve for curve in curves if curve.points)


def _build_chart(log: Log, title: str, names: dict[str, str], *, unit: str, across: str) -> Iterator[Chart]:
    """Yield the chart of a quantity, which the splits have by these names, if the log has it."""
    lines = dict(zip(_SPLITS, (log.steps, log.validations), strict=True))
    curves = [
        Curve(name=split, points=points, marks=split == "validation", colour=_SPLITS.index(split))
        for split, name in names.items()
        if (points := _collect(lines[split], name, across))
    ]
    if curves:
        yield Chart(title=title, unit=unit, across=across, curves=tuple(curves))


def _collect(lines: Sequence[Line], name: str, across: str) -> list[tuple[float, float]]:
    return [(line[across], line[name]) for line in lines if name in line]
