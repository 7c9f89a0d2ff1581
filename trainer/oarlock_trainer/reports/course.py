"""What the log tells of the course of a run: attempts, checkpoints, and what the time went on. Pure."""

import itertools
import math
from collections.abc import Iterator

from oarlock_api.metrics import is_as_good
from oarlock_trainer.reports.curves import choose_axis
from oarlock_trainer.reports.facts import Attempt, Checkpoint, Moment, Share
from oarlock_trainer.reports.log_reading import Line, Log
from oarlock_trainer.reports.step_times import list_step_shares

_MOST_CHECKPOINTS = 40
_MOST_WARNINGS = 200


def list_attempts(log: Log) -> tuple[Attempt, ...]:
    """Return the starts, each until the last sign of it before the next one; what was taken back is not among these."""
    starts = log.of("start")
    times = [float(line["time"]) for line in _all(log) if "time" in line]
    begins = [start["time"] - start.get("startSeconds", 0.0) for start in starts]
    attempts = []
    for start, (began, end) in zip(starts, itertools.pairwise([*begins, math.inf]), strict=True):
        seen = max((time for time in times if began <= time <= end), default=start["time"])
        name = f"attempt {start.get('attempt', 0)}"
        attempts.append(Attempt(name=name, began=began, ended=seen, text=str(start.get("message", ""))))
    return tuple(attempts)


def list_moments(log: Log, best_by: str) -> tuple[Moment, ...]:
    """Return validations, checkpoints and warnings with their times."""
    best = _find_best_step(log, best_by)
    moments = [
        Moment(time=line["time"], kind="validation", text=f"step {line['step']:,}: {best_by} {line.get(best_by, '–')}")  # noqa: RUF001
        for line in log.validations
        if "time" in line
    ]
    moments += [
        Moment(
            time=line["time"],
            kind="best" if _saved_step(line) == best else "checkpoint",
            text=str(line.get("message", "")),
        )
        for line in log.checkpoints
    ]
    warnings = log.of("warning")[:_MOST_WARNINGS]
    moments += [Moment(time=line["time"], kind="warning", text=str(line.get("message", ""))) for line in warnings]
    return tuple(moments)


def list_checkpoints(log: Log, best_by: str) -> tuple[Checkpoint, ...]:
    """Return the last checkpoints and the best one; older ones need not be on the volume any more."""
    best, across = _find_best_step(log, best_by), choose_axis(log)
    shown = [line for line in log.checkpoints if _saved_step(line) == best] + log.checkpoints[-_MOST_CHECKPOINTS:]
    rows = {}
    for line in shown:
        facts = line.get("checkpoint") or {}
        rows[_saved_step(line)] = Checkpoint(
            step=_saved_step(line),
            epoch=float(facts.get("epoch", 0.0)) if across == "epoch" else None,
            time=float(facts.get("time") or line["time"]),
            bytes=int(facts.get("bytes", 0)),
            stall=line.get("checkpointStallSeconds"),
            durable=line.get("checkpointDurableSeconds"),
            metric=facts.get("metric"),
            is_best=_saved_step(line) == best,
        )
    return tuple(rows[step] for step in sorted(rows))


def list_shares(log: Log) -> tuple[Share, ...]:
    """Return what the time of all attempts went on, as far as the log tells."""
    stalls = [line["checkpointStallSeconds"] for line in log.checkpoints if "checkpointStallSeconds" in line]
    validating = [line["seconds"] for line in log.validations if "seconds" in line]
    starting = [line["startSeconds"] for line in log.of("start") if "startSeconds" in line]
    return (
        *list_step_shares(log),
        Share(name="validation", seconds=sum(validating), about=_say_times(len(validating)), colour=6),
        Share(name="checkpoints", seconds=sum(stalls), about=f"{_say_times(len(stalls))}; the stall alone", colour=4),
        Share(name="starting", seconds=sum(starting), about=_say_times(len(starting)), colour=8),
    )


def _say_times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _find_best_step(log: Log, best_by: str) -> int | None:
    """Return the step of the checkpoint that is the best by a metric."""
    best: tuple[float, int] | None = None
    for line in log.checkpoints:
        value = (line.get("checkpoint") or {}).get("metric")
        if value is not None and best_by and (best is None or is_as_good(best_by, value, best[0])):
            best = value, _saved_step(line)
    return best[1] if best else None


def _saved_step(line: Line) -> int:
    """Return the step that was saved; the line itself has the one at which the save was known to be safe."""
    facts = line.get("checkpoint") or {}
    return int(facts["step"] if "step" in facts else line["step"])


def _all(log: Log) -> Iterator[Line]:
    yield from itertools.chain(log.paces, log.validations, log.checkpoints, log.events)
