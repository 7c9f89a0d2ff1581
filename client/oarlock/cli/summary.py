"""What is left to read when a run has ended: the result and where it is, or what went wrong and what to do."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from oarlock.cli.curves import place_side_by_side, plot
from oarlock.cli.logs import find_output
from oarlock.cli.run_log import Curve, Curves, read_curves, read_last_steps
from oarlock.cli.wording import count_epochs, count_of, format_duration, format_epochs, format_figure
from oarlock.local.runs_folder import RunsFolder
from oarlock.running.outcomes import End, Outcome
from oarlock_api.metrics import METRICS_BY_NAME, find_figure, show_metric
from oarlock_trainer.reports import REPORT_NAME, TRACE_FILES, TRACES_DIR

Object = Mapping[str, Any]

_STYLES = ("cyan", "yellow")
_PLOT_HEIGHT = 6
_WIDEST_PLOT, _NARROWEST_PLOT = 40, 16
_DETAIL_LINES = 12

_TRAINING = tuple(name for name in METRICS_BY_NAME if name.startswith("train/"))
"""Figures of training steps."""


def print_outcome(console: Console, outcome: Outcome, runs: RunsFolder) -> None:
    """Print how one object ended."""
    if outcome.object["kind"] == "Dataset" and outcome.end in (End.SUCCEEDED, End.ALREADY):
        # The last line about it says all the rest.
        for line in _list_oddities(outcome.object) if outcome.end is End.SUCCEEDED else ():
            console.print(line, highlight=False, soft_wrap=True)
        return
    lines = {
        End.SUCCEEDED: _describe_success,
        End.ALREADY: _describe_success,
        End.FAILED: _describe_failure,
        End.SUSPENDED: _describe_suspension,
        End.KILLED: _describe_kill,
    }[outcome.end]
    console.print()
    for line in lines(outcome, runs, console.width):
        console.print(line, highlight=False, soft_wrap=True)
    for warning in outcome.warnings:
        console.print(f"  [yellow]! {escape(warning)}[/]", highlight=False, soft_wrap=True)


def _list_oddities(dataset: Object) -> Iterator[str]:
    """Yield what its import warned of, and how many files a Dataset lacks, and why, by the first of them."""
    status = dataset["status"]
    for warning in status.get("warnings", ()):
        yield f"[yellow]! {dataset['metadata']['name']}: {escape(warning)}[/]"
    if not status.get("rejected"):
        return
    first = [escape(text) for text in status.get("firstRejects", ())]
    yield f"[yellow]! {dataset['metadata']['name']}: {count_of(status['rejected'], 'file')} rejected[/]"
    yield from (f"  {text}" for text in first)
    if status["rejected"] > len(first):
        yield f"  [dim]and {status['rejected'] - len(first):,} more, all named in dataset.json beside the data[/]"


def _describe_success(outcome: Outcome, runs: RunsFolder, width: int) -> Iterator[str]:
    job = outcome.object
    status, name = job["status"], job["metadata"]["name"]
    progress = status.get("progress") or {}
    is_script = "script" in status.get("run", {})
    epochs = "" if is_script else f"{count_epochs(progress.get('epoch', 0))}, "
    done = f": {epochs}{count_of(progress.get('step', 0), 'step')}" if progress.get("step") or not is_script else ""
    ended = "has run" if is_script else "is trained"
    when = f"{ended} already" if outcome.end is End.ALREADY else f"{ended}{done} in {format_duration(outcome.seconds)}"
    yield f"[bold green]✓ {name} {when}[/]"
    folder = runs.run_folder(job)
    if folder:
        figure = find_figure("validation", progress.get("metrics") or {}) or "validation/accuracy"
        yield from _draw_curves(
            read_curves(folder / "log.jsonl", quantity=figure.removeprefix("validation/")), figure, width
        )
    yield from _list_facts(_collect_results(job, runs))
    if outcome.end is End.ALREADY:
        yield "[dim]Nothing was done. --fresh trains it anew; more epochs need another name or --fresh.[/]"


def _draw_curves(curves: Curves, figure: str, width: int) -> Iterator[str]:
    each = min(_WIDEST_PLOT, (width - 24) // 2)
    if each < _NARROWEST_PLOT:
        return
    size = (each, _PLOT_HEIGHT)
    loss = _draw_curve("loss", curves.loss, size, format_figure)
    is_share = METRICS_BY_NAME[figure].unit == "ratio"
    label = (lambda y: f"{100 * y:.0f} %") if is_share else format_figure
    other = _draw_curve(figure.removeprefix("validation/"), curves.figure, size, label)
    lines = place_side_by_side(loss, other, width=each + 14)
    if lines:
        yield ""
        yield from (f"  {line}" for line in lines)
        yield ""


def _draw_curve(
    title: str, by_split: Mapping[str, Curve], size: tuple[int, int], label: Callable[[float], str]
) -> list[str]:
    names = ("train", "validation")
    return plot(title, by_split["train"], by_split["validation"], names=names, styles=_STYLES, size=size, label=label)


def _collect_results(job: Object, runs: RunsFolder) -> dict[str, str]:
    status = job["status"]
    metrics = (status.get("progress") or {}).get("metrics") or {}
    checkpoint = status.get("checkpoint") or {}
    best = checkpoint.get("best")
    facts = {"final": _say_final(metrics), "training": _say_training(runs.run_folder(job))}
    if best and best.get("metric") is not None:
        metric = job["status"]["run"]["checkpoints"]["keepBest"]["metric"]
        facts["best"] = (
            f"{_say_metric(metric, best['metric'])} at step {best['step']:,}, epoch {format_epochs(best['epoch'])}"
        )
    if checkpoint.get("export"):
        facts["model"] = show_path(locate(job, runs, checkpoint["export"]))
    if best:
        facts["checkpoint"] = show_path(locate(job, runs, best["path"]))
    if link := runs.link_job(job):
        found = {name: link / file for name, file in (("log", "log.jsonl"), ("report", REPORT_NAME))}
        facts |= {name: show_path(path) for name, path in found.items() if path.exists()}
        if traces := sorted((link / TRACES_DIR).glob(TRACE_FILES)):
            facts["trace"] = show_path(traces[-1])
    if "script" in status.get("run", {}) and (output := find_output(job, runs)):
        facts["output"] = show_path(output)
    if status.get("restartCount"):
        causes = ", ".join(f"{cause} {count}×" for cause, count in status.get("restarts", {}).items())  # noqa: RUF001
        facts["restarts"] = f"{status['restartCount']} ({causes})"
    return {name: text for name, text in facts.items() if text}


def _say_final(metrics: Mapping[str, float]) -> str:
    names = (find_figure("validation", metrics), "validation/loss")
    return ", ".join(_say_metric(name, metrics[name]) for name in names if name in metrics)


def _say_training(folder: Path | None) -> str:
    """Say how training ended, by the log: what was reported last is a mean over however many steps came since the report before."""
    end = read_last_steps(folder / "log.jsonl", _TRAINING) if folder else None
    if end is None:
        return ""
    figures = ", ".join(_say_metric(name, value) for name, value in end.means.items())
    return f"{figures} (mean of the last {count_of(end.steps, 'step')})"


def _say_metric(name: str, value: float) -> str:
    return f"{name.partition('/')[0]} {show_metric(name, value)}"


def _describe_failure(outcome: Outcome, runs: RunsFolder, _: int) -> Iterator[str]:
    item = outcome.object
    status, name = item.get("status", {}), item["metadata"]["name"]
    what = "is not valid" if status.get("phase") == "Invalid" else "failed"
    failure = (status.get("failures") or [{}])[-1]
    where = _say_where(failure, is_import=item["kind"] == "Dataset")
    cause = failure.get("cause") or status.get("reason", "")
    yield f"[bold red]✗ {name} {what}: {escape(cause)}{where}[/]"
    facts = {
        "found": escape(failure.get("message") or status.get("message", "")),
        "remedy": escape(failure.get("remedy", "")),
        "checkpoint": _say_safe(item, runs),
        "log": _find_log(item, runs, failure),
    }
    yield from _list_facts({name: text for name, text in facts.items() if text})
    for line in str(failure.get("detail", "")).splitlines()[-_DETAIL_LINES:]:
        yield f"  [dim]│ {escape(line)}[/]"
    if item["kind"] == "TrainingJob" and status.get("phase") == "Failed":
        yield "[dim]When the cause is removed, the same command goes on from the last checkpoint; --fresh trains anew.[/]"


def _say_where(failure: Mapping[str, Any], *, is_import: bool) -> str:
    """Say where a run failed: an import has no ranks, and counts samples."""
    rank, step = failure.get("rank"), failure.get("step")
    parts = [
        f"on rank {rank}" if rank is not None and not is_import else "",
        "" if step is None else f"after {step:,} samples" if is_import else f"at step {step:,}",
        f"in attempt {failure['attempt']}" if failure.get("attempt") else "",
    ]
    words = " ".join(part for part in parts if part)
    return f" {words}" if words else ""


def _say_safe(item: Object, runs: RunsFolder) -> str:
    latest = (item.get("status", {}).get("checkpoint") or {}).get("latest")
    return f"step {latest['step']:,} is safe: {show_path(locate(item, runs, latest['path']))}" if latest else ""


def _find_log(item: Object, runs: RunsFolder, failure: Mapping[str, Any]) -> str:
    """Return where the whole story is: what the failed pod printed, if it ran."""
    pod = failure.get("pod")
    path = runs.logs / str(item["metadata"]["namespace"]) / f"{pod}.log"
    return show_path(path) if pod and path.exists() else ""


def _describe_suspension(outcome: Outcome, runs: RunsFolder, _: int) -> Iterator[str]:
    item = outcome.object
    name = item["metadata"]["name"]
    if item["kind"] == "Dataset":
        yield f"[bold yellow]‖ the import of {name} was stopped[/]: run it again to go on"
        return
    safe = _say_safe(item, runs) or "no checkpoint yet"
    yield f"[bold yellow]‖ {name} is suspended[/]: {safe}"
    yield "  Run it again to resume."


def _describe_kill(outcome: Outcome, runs: RunsFolder, _: int) -> Iterator[str]:
    safe = _say_safe(outcome.object, runs)
    again = (
        f"{safe}. Run it again to resume from there"
        if safe
        else "there is no checkpoint yet. Run it again to begin anew"
    )
    yield f"[bold red]✗ {outcome.object['metadata']['name']} was killed[/]: {again}."


def _list_facts(facts: Mapping[str, str]) -> Iterator[str]:
    margin = max((len(name) for name in facts), default=0)
    for name, text in facts.items():
        yield f"  [dim]{name:<{margin}}[/]  {text}"


def locate(job: Object, runs: RunsFolder, path: str) -> Path:
    """Return where a path on a job's checkpoint claim is on this machine, by its short name if it has one."""
    uid, _, inside = path.partition("/")
    link = runs.link_job(job)
    if link and uid == job["metadata"]["uid"]:
        return link / inside
    return runs.claim(job["metadata"]["namespace"], job["status"]["run"]["checkpoints"]["claim"]) / path


def show_path(path: Path) -> str:
    """Return a path as short as it can be given to another command here."""
    relative = os.path.relpath(path)
    return escape(str(path) if relative.startswith("..") else relative)
