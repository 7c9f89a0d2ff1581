"""What there is to say about an object at this moment: the same words for the live display, plain lines and `oarlock status`. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from oarlock.cli.wording import count_of, format_duration, format_epochs, format_figure
from oarlock_api.metrics import find_figure, show_metric

Object = Mapping[str, Any]

_QUIET_PHASES = frozenset({"Training", "Importing", "Ready", "Succeeded"})
"""Phases that need no explanation while all is well."""
_TRAINER_PHASES = {
    "Loading": "loading data",
    "Compiling": "compiling",
    "Tuning": "tuning",
    "Validating": "validating",
    "Checkpointing": "saving a checkpoint",
    "Exporting": "exporting the model",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """An object in words."""

    title: str
    """`Dataset digits`."""
    phase: str
    activity: str
    """What the trainers do at this moment beside training; empty if nothing worth a word."""
    explanation: str
    """Why it waits, or what is wrong; empty if all goes well."""
    fraction: float | None
    """How much is done, 0 to 1; None if that is not known yet."""
    amounts: tuple[str, ...] = ()
    """How far it is, in words."""
    figures: tuple[str, ...] = ()
    """Loss, accuracy, speed; or what was imported."""
    validation: tuple[str, ...] = ()
    """The same of the last validation."""
    safe: str = ""
    """Which checkpoint is safe."""


def view(item: Object) -> View:
    return _view_dataset(item) if item["kind"] == "Dataset" else _view_job(item)


def _view_dataset(item: Object) -> View:
    status = item.get("status", {})
    progress = status.get("progress") or {}
    return View(
        title=f"Dataset {item['metadata']['name']}",
        phase=status.get("phase", "Pending"),
        activity="",
        explanation=_explain(status),
        fraction=_fraction(progress.get("samples", 0), progress.get("total", 0)),
        amounts=tuple(_say_samples(progress)) if not status.get("version") else (),
        figures=tuple(_say_imported(status)),
    )


def _say_samples(progress: Mapping[str, Any]) -> Iterator[str]:
    if progress.get("total"):
        yield f"{progress['samples']:,}/{progress['total']:,} samples"
    if progress.get("etaSeconds") is not None and progress.get("total"):
        yield f"{format_duration(progress['etaSeconds'])} left"


def _say_imported(status: Mapping[str, Any]) -> Iterator[str]:
    if not status.get("version"):
        return
    classes = f" in {count_of(status['classCount'], 'class')}" if status.get("classCount") else ""
    yield f"{count_of(status['samples'], 'sample')}{classes}"
    match status.get("sampleShape"):
        case [height, width, channels]:
            yield f"{width}×{height} {'gray' if channels == 1 else 'rgb'}"  # noqa: RUF001  # the sign for sizes
        case [length]:
            yield f"{count_of(length, 'token')} of {status.get('vocabularySize', 0):,}"
    yield ", ".join(f"{split} {count:,}" for split, count in status.get("counts", {}).items())
    if status.get("rejected"):
        yield f"{count_of(status['rejected'], 'file')} rejected"


def _view_job(item: Object) -> View:
    status = item.get("status", {})
    progress = _advance(status.get("progress") or {}, status.get("checkpoint") or {})
    started = bool(progress.get("step"))
    is_leaving = status.get("reason") == "Suspending"
    return View(
        title=f"TrainingJob {item['metadata']['name']}",
        phase="Suspending" if is_leaving else status.get("phase", "Pending"),
        activity=_TRAINER_PHASES.get(status.get("reason", ""), "") if status.get("phase") == "Training" else "",
        explanation=_explain(status),
        fraction=_fraction(progress.get("step", 0), progress.get("steps", 0)),
        amounts=tuple(_say_progress(progress)),
        figures=tuple(_say_training(progress)) if started else (),
        validation=tuple(_say_split("validation", progress)),
        safe=_say_safe(status.get("checkpoint") or {}),
    )


def _advance(progress: Mapping[str, Any], checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the progress, at least up to the checkpoint that is safe: a trainer that stops has no time for a report."""
    latest = checkpoint.get("latest")
    if not latest or not progress.get("steps") or latest["step"] <= progress["step"]:
        return progress
    return {**progress, "step": latest["step"], "epoch": latest["epoch"]}


def _say_progress(progress: Mapping[str, Any]) -> Iterator[str]:
    if not progress.get("steps"):
        return
    if progress.get("epochs"):
        yield f"epoch {format_epochs(progress['epoch'])}/{format_epochs(progress['epochs'])}"
    yield f"step {progress['step']:,}/{progress['steps']:,}"
    if progress.get("etaSeconds") is not None and progress["step"] < progress["steps"]:
        yield f"{format_duration(progress['etaSeconds'])} left"


def _say_training(progress: Mapping[str, Any]) -> Iterator[str]:
    metrics = progress.get("metrics") or {}
    yield from _say_split("train", progress)
    if "samplesPerSecond" in metrics:
        yield f"{metrics['samplesPerSecond']:,.0f} samples/s"
    if "learningRate" in metrics:
        yield f"learning rate {metrics['learningRate']:.2g}"


def _say_split(split: str, progress: Mapping[str, Any]) -> Iterator[str]:
    """Say the loss, and the first other figure of the split: the one that its task is judged by."""
    prefix = "" if split == "train" else f"{split} "
    metrics, broken = progress.get("metrics") or {}, progress.get("nonFinite") or ()
    figure = find_figure(split, {**metrics, **dict.fromkeys(broken, 0.0)})
    for name in (f"{split}/loss", figure):
        quantity = name.partition("/")[2]
        if name in broken:
            yield f"{prefix}{quantity} not finite"
        elif name in metrics:
            yield prefix + (
                show_metric(name, metrics[name]) if name == figure else f"loss {format_figure(metrics[name])}"
            )


def _say_safe(checkpoint: Mapping[str, Any]) -> str:
    latest, best = checkpoint.get("latest"), checkpoint.get("best")
    if not latest:
        return ""
    text = f"checkpoint of step {latest['step']:,} is safe"
    if best and best.get("metric") is not None:
        text += f", the best so far is that of step {best['step']:,}"
    return text


def _explain(status: Mapping[str, Any]) -> str:
    phase, message = status.get("phase"), str(status.get("message", ""))
    return "" if phase in _QUIET_PHASES else message


def _fraction(done: int, total: int) -> float | None:
    return min(1.0, done / total) if total else None
