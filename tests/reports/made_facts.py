"""Facts of a run that never was: curves, a confusion matrix of any size, hostile words."""

import math

from oarlock_trainer.reports.facts import (
    Attempt,
    Chart,
    Checkpoint,
    Curve,
    Findings,
    Moment,
    ReportFacts,
    Share,
    WorstSample,
)

HOSTILE = "<script>alert('x')</script>&\"'"
_DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="


def make_facts(classes: int = 3, *, points: int = 300, name: str = HOSTILE) -> ReportFacts:
    """Return facts of every section; all texts hold `name`."""
    across = [30 * (i + 1) / points for i in range(points)]
    loss = [(x, math.exp(-x / 8) + 0.05 * math.sin(40 * x)) for x in across]
    names = tuple(f"{name} {index}" for index in range(classes))
    matrix = [[8 if row == column else (row + column) % 2 for column in range(classes)] for row in range(classes)]
    shares = [matrix[index][index] / max(1, sum(matrix[index])) for index in range(classes)]
    return ReportFacts(
        title=name,
        subtitle=f"lenet {name}",
        state="trained",
        headline=((name, "97.4 %", name),),
        charts=(
            Chart(
                title=name,
                curves=(Curve(name=name, points=loss), Curve(name="validation", points=loss[::50], marks=True)),
            ),
        ),
        pace=(
            Chart(title="Throughput", unit="1/s", curves=(Curve(name="samples", points=[(1.0, 5.0), (2.0, 6.0)]),)),
            Chart(title=name, unit="s", curves=(Curve(name=name, points=[(1.0, 0.5)]),), stacked=True),
        ),
        shares=(Share(name="computing", seconds=9.0), Share(name="starting", seconds=1.0, about=name)),
        traces=(f"traces/{name}",),
        classes=names,
        findings=Findings(
            samples=classes * 9,
            of=1000,
            confusion=matrix,
            per_class={"recall": [None, *shares[1:]], "support": [float(sum(row)) for row in matrix]},
            charts=(
                Chart(title="ROC", unit="ratio", bounds=(0, 1), curves=(Curve(name=name, points=[(0, 0), (1, 1)]),)),
            ),
            worst=(
                WorstSample(number=4, loss=6.3, truth=name, said=name, confidence=0.99, pictures=((name, _DOT),)),
                WorstSample(number=7, loss=5.0, text=name),
            ),
        ),
        attempts=(Attempt(name="attempt 0", began=100.0, ended=160.0, text=name),),
        moments=(Moment(time=120.0, kind="checkpoint", text=name), Moment(time=130.0, kind="warning", text=name)),
        checkpoints=(
            Checkpoint(
                step=5, epoch=1, time=120.0, bytes=5_000_000, stall=0.01, durable=None, metric=0.9, is_best=True
            ),
        ),
        best_by="validation/accuracy",
        recipe={"model": {"name": name}, "batchSize": 64, "paramGroups": [{"match": name}], "deterministic": False},
        dataset={"version": name},
        system={"device": "cpu", "host": name},
        warnings=((5, name),),
        made=200.0,
        version="0.1.0",
    )
