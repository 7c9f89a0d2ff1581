"""From a job's folder to the facts of its report: the log, the description of the run, the examination of the model."""

import json
import shlex
import statistics
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from oarlock_api.metrics import METRICS_BY_NAME, VALIDATION_LOSS, outranks
from oarlock_trainer.reports import DESCRIPTION_NAME, EXAMINATION_NAME, TRACE_FILES, TRACES_DIR
from oarlock_trainer.reports.course import list_attempts, list_checkpoints, list_moments, list_shares
from oarlock_trainer.reports.curves import MOST_OWN, choose_axis, list_charts, list_own_quantities, list_pace_charts
from oarlock_trainer.reports.facts import Chart, Curve, Findings, ReportFacts, WorstSample
from oarlock_trainer.reports.log_reading import Line, Log, read_log
from oarlock_trainer.reports.wording import say_figure, say_name, say_number, say_seconds

_LOG_NAME = "log.jsonl"
_NOT_OF_THE_SYSTEM = frozenset({"kind", "step", "time", "message", "attempt", "startSeconds", "nonFinite"})


def read_facts(run_dir: Path, *, now: float, title: str = "") -> ReportFacts:
    """Return what the report of the run in `run_dir` shows; `title` is the job's name if it is known.

    Raises:
        OSError: if the folder cannot be read.
    """
    log = read_log(run_dir / _LOG_NAME)
    described = _read_json(run_dir / DESCRIPTION_NAME)
    run, dataset = described.get("run") or {}, described.get("dataset") or {}
    best_by = str((run.get("keepBest") or {}).get("metric", ""))
    best_by = best_by if best_by in METRICS_BY_NAME and run.get("ranked") is not False else ""
    starts = log.of("start")
    return ReportFacts(
        title=title or described.get("job") or _say_model(run) or run_dir.name,
        subtitle=_say_subtitle(run, dataset),
        state=_find_state(log),
        headline=tuple(_list_headline(log, best_by, steps=int(run.get("steps", 0)))),
        charts=tuple(list_charts(log)),
        pace=tuple(list_pace_charts(log)),
        shares=list_shares(log),
        traces=tuple(sorted(f"{TRACES_DIR}/{path.name}" for path in (run_dir / TRACES_DIR).glob(TRACE_FILES))),
        classes=tuple(map(str, dataset.get("classes", ()))),
        findings=_read_findings(run_dir / EXAMINATION_NAME),
        attempts=list_attempts(log),
        moments=list_moments(log, best_by),
        checkpoints=list_checkpoints(log, best_by),
        best_by=best_by,
        recipe=_describe_recipe(run),
        dataset=_describe_dataset(dataset),
        system={key: value for key, value in (starts[-1] if starts else {}).items() if key not in _NOT_OF_THE_SYSTEM},
        warnings=tuple(_list_warnings(log)),
        made=now,
        version=_own_version(),
    )


def _read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object; an empty one if there is none that can be read: a report shows what there is."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _read_findings(path: Path) -> Findings | None:
    wire = _read_json(path)
    if not wire:
        return None
    charts = (Chart(**{**chart, "curves": tuple(Curve(**c) for c in chart["curves"])}) for chart in wire.pop("charts"))
    worst = (WorstSample(**sample) for sample in wire.pop("worst"))
    return Findings(**wire, charts=tuple(charts), worst=tuple(worst))


def _own_version() -> str:
    try:
        return version("oarlock")
    except PackageNotFoundError:  # a source tree on the path
        return ""


def _say_model(run: Mapping[str, Any]) -> str:
    model = run.get("model") or {}
    library = model.get("torchvision") or model.get("timm") or {}
    return str(model.get("name") or library.get("name") or (model.get("python") or {}).get("factory") or "")


def _say_subtitle(run: Mapping[str, Any], dataset: Mapping[str, Any]) -> str:
    counts = dataset.get("counts") or {}
    parts = [_say_model(run), str(dataset.get("task", ""))]
    if counts:
        parts.append(", ".join(f"{count:,} {split}" for split, count in counts.items()) + " samples")
    if dataset.get("classes"):
        parts.append(f"{len(dataset['classes'])} classes")
    return " · ".join(part for part in parts if part)


def _find_state(log: Log) -> str:
    """Return how the run stands; nothing if its log does not tell, as that of a program without a session."""
    states = {"start": "running", "suspended": "stopped", "export": "trained", "finished": "trained"}
    found = [states[line["kind"]] for line in log.events if line["kind"] in states]
    return found[-1] if found else ""


def _list_warnings(log: Log) -> Iterator[tuple[int, str]]:
    for line in log.of("warning"):
        yield line["step"], str(line.get("message", ""))
    lines = log.steps or log.validations or log.events
    last = lines[-1]["step"] if lines else 0
    if log.left_out:
        noun = "line" if log.left_out == 1 else "lines"
        were = "was" if log.left_out == 1 else "were"
        yield last, f"{log.left_out:,} {noun} of {_LOG_NAME} made no sense and {were} left out"
    if more := list_own_quantities(log)[MOST_OWN:]:
        yield last, f"{len(more):,} more figures, from {more[0]} on, are in {_LOG_NAME} alone"


def _list_headline(log: Log, best_by: str, *, steps: int) -> Iterator[tuple[str, str, str]]:
    across = choose_axis(log)
    best = find_best(log.validations, best_by)
    if best:
        yield (
            say_name(best_by),
            say_figure(best[best_by], METRICS_BY_NAME[best_by].unit),
            f"best, at {_say_when(best, across)}",
        )
    if log.validations and best_by != VALIDATION_LOSS and VALIDATION_LOSS in log.validations[-1]:
        last = log.validations[-1]
        yield "validation loss", say_number(last[VALIDATION_LOSS]), f"last, at {_say_when(last, across)}"
    lines = log.steps or log.validations
    if lines:
        yield _say_progress(lines[-1], across, steps=steps)
    rates = [line["samplesPerSecond"] for line in log.paces if "samplesPerSecond" in line]
    starts = log.of("start")
    if rates and starts:
        where = f"{starts[-1].get('processes', 1)} × {str(starts[-1].get('device', '')).partition(':')[0]}"  # noqa: RUF001
        yield "samples per second", f"{statistics.median(rates):,.0f}", f"median, {where}"
    attempts = list_attempts(log)
    if attempts:
        restarts = len(attempts) - 1
        yield (
            "time",
            say_seconds(sum(a.ended - a.began for a in attempts)),
            f"{restarts or 'no'} restart{'s' * (restarts != 1)}",
        )
    waits = [
        (line["dataWaitSeconds"], line["stepSeconds"])
        for line in log.paces
        if line.get("stepSeconds") and "dataWaitSeconds" in line
    ]
    if waits:
        yield (
            "waiting for data",
            say_figure(sum(w for w, _ in waits) / sum(s for _, s in waits), "ratio"),
            "of the steps' time",
        )


def _say_progress(line: Line, across: str, *, steps: int) -> tuple[str, str, str]:
    """Return how far the run is; `steps` is how long it is to be, 0 if nobody knows."""
    step = line["step"]
    if across == "step":
        return "steps", f"{step:,}", f"of {steps:,}" if steps else ""
    done = f"{step:,} of {steps:,} steps" if step < steps else f"{step:,} steps"
    return "epochs", _say_epoch(line), done


def _say_when(line: Line, across: str) -> str:
    return f"epoch {_say_epoch(line)}" if across == "epoch" else f"step {line['step']:,}"


def _say_epoch(line: Line) -> str:
    return f"{line['epoch']:.1f}".removesuffix(".0")


def find_best(validations: Sequence[Line], name: str) -> Line | None:
    """Return the validation that is the best by a metric, as training ranks them; None if there is none."""
    measured = [line for line in validations if name in line]
    # Where losses are known, a validation without one had none that is a number.
    sound = [line for line in measured if VALIDATION_LOSS in line]
    best: Line | None = None
    for line in sound or measured:
        if best is None or outranks(name, line, best):
            best = line
    return best


def _describe_recipe(run: Mapping[str, Any]) -> dict[str, Any]:
    recipe = {"model": run.get("model"), **(run.get("recipe") or {})}
    if isinstance(run.get("command"), list):
        recipe |= {"command": shlex.join(map(str, run["command"])), "seed": run.get("seed")}
    rest = {"steps": run.get("steps"), "checkpointEvery": run.get("checkpointEvery"), "keep": run.get("keep")}
    return {name: value for name, value in {**recipe, **rest}.items() if value not in (None, {}, [])}


def _describe_dataset(dataset: Mapping[str, Any]) -> dict[str, Any]:
    shown = {name: value for name, value in dataset.items() if name not in ("classes", "classCounts")}
    return {**shown, "classes": len(dataset.get("classes", ()))} if dataset else {}
