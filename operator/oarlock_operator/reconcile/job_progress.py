"""How far a job is, from what its trainers report: figures, and the checkpoints that are safe. Pure.

What they say was checked when it was read (`oarlock_operator.untrusted`); here it is bounded and put into words.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from oarlock_api.contract import CheckpointFacts, TerminationRecord, WorkerStatus
from oarlock_api.metrics import METRICS_BY_NAME, show_metric
from oarlock_api.script_reports import ScriptActivity
from oarlock_api.v1alpha1.status import Checkpoints, CheckpointStatus, Progress, ScriptStatus
from oarlock_operator.policy.bounds import clip
from oarlock_operator.policy.times import format_time, parse_time
from oarlock_operator.reconcile.job_view import JobView

_MAX_PATH_BYTES = 200
_OWN_METRIC = re.compile(r"[A-Za-z][A-Za-z0-9_.\-/]{0,63}")
_MAX_OWN_METRICS = 24
_MAX_BROKEN = 8


def build_progress(job: JobView) -> Progress | None:
    """Return the figures of the last report, or of the termination record once rank 0 has ended."""
    record = final_record(job)
    if record is not None and (record.steps or (record.step and _is_script(job))):
        return _from_record(job, record)
    return _from_report(job, job.report) if job.report is not None else job.status.progress


def final_record(job: JobView) -> TerminationRecord | None:
    """Return what rank 0 of the attempt left behind when it ended."""
    first = job.pods.get(0)
    return first.termination if first else None


def _from_report(job: JobView, report: WorkerStatus) -> Progress:
    steps = report.steps or (job.run.steps if job.run else 0)
    metrics = _known_metrics(job, report.metrics)
    answered = job.observed.report.answered if job.observed.report else None
    progress = Progress(
        epoch=round(report.epoch, 4),
        epochs=report.epochs,
        step=report.step,
        steps=steps,
        percent=None if _is_script(job) and not steps else _percent(report.step, steps),
        eta_seconds=None if report.eta_seconds is None else round(min(report.eta_seconds, 1e9)),
        samples_per_second=metrics.get("samplesPerSecond"),
        metrics=metrics,
        non_finite=_list_broken(job, report.non_finite),
        metric=_show_metric(job, metrics),
        updated=format_time(answered) if answered else None,
    )
    return _unless_same(job.status.progress, progress)


def _from_record(job: JobView, record: TerminationRecord) -> Progress:
    before = job.status.progress or Progress()
    broken = {*(before.non_finite or ()), *record.non_finite} - record.metrics.keys()
    known = {**before.metrics, **record.metrics}
    metrics = _known_metrics(job, {name: value for name, value in known.items() if name not in broken})
    progress = Progress(
        epoch=round(record.epoch, 4),
        epochs=before.epochs or record.epoch,
        step=record.step,
        steps=record.steps,
        percent=_percent(record.step, record.steps) if record.steps else None,
        eta_seconds=0 if record.step >= record.steps > 0 else None,
        samples_per_second=before.samples_per_second,
        metrics=metrics,
        non_finite=_list_broken(job, broken),
        metric=_show_metric(job, metrics),
        updated=format_time(job.pods[0].finished or job.now),
    )
    return _unless_same(before, progress)


def _unless_same(before: Progress | None, now: Progress) -> Progress:
    """Return the progress of before if only its time differs: nobody needs a write for that."""
    if before is not None and before.model_copy(update={"updated": now.updated}) == now:
        return before
    return now


def _percent(step: int, steps: int) -> int:
    return min(100, max(0, 100 * step // steps)) if steps > 0 else 0


def _known_metrics(job: JobView, metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the figures of the table, and a few of a script's own."""
    finite = {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
    known = {name: finite[name] for name in METRICS_BY_NAME if name in finite}
    if not _is_script(job):
        return known
    own = [name for name in finite if name not in known and _OWN_METRIC.fullmatch(name)]
    return known | {name: finite[name] for name in own[:_MAX_OWN_METRICS]}


def _list_broken(job: JobView, names: Iterable[str]) -> list[str] | None:
    """Return the figures that are not finite, of those that may be shown; None if there are none."""
    return sorted(_known_metrics(job, dict.fromkeys(sorted(names), 0.0)))[:_MAX_BROKEN] or None


def _is_script(job: JobView) -> bool:
    return job.run is not None and job.run.script is not None


def build_script(job: JobView) -> ScriptStatus | None:
    """Return what is known of a script's program; what was heard last stays."""
    record, before = final_record(job), job.status.script
    if _is_script(job) and record is not None and record.level:
        # A program may end before it was ever asked.
        return (before or ScriptStatus()).model_copy(update={"level": record.level})
    if not _is_script(job) or job.report is None or not job.report.level:
        return before
    activity = ScriptActivity.from_wire(job.report.activity or {})
    return ScriptStatus(
        level=job.report.level,
        cpu_cores=None if activity.cpu_cores is None else round(activity.cpu_cores, 1),
        last_output=format_time(activity.last_output) if activity.last_output else None,
    )


def _show_metric(job: JobView, metrics: Mapping[str, float]) -> str:
    name = str(job.run.checkpoints.keep_best.metric) if job.run else ""
    return show_metric(name, metrics[name]) if name in metrics else ""


def build_checkpoints(job: JobView) -> Checkpoints:
    """Return the checkpoints that matter, as the latest word has it.

    The attempt's own word counts first, since it skips a checkpoint that turned out corrupt; a pod of an earlier attempt that is
    ending may have completed one after its last report.
    """
    known = job.status.checkpoint or Checkpoints()
    latest, best, export = known.latest, known.best, known.export
    for source in _sources_of_old_pods(job):
        found = _describe(job, source.checkpoint_latest)
        if found and (latest is None or (parse_time(found.time) or 0) > (parse_time(latest.time) or 0)):
            latest = found
        best = _describe(job, source.checkpoint_best) or best
    for current in (job.report, final_record(job)):
        if current is not None:
            latest = _describe(job, current.checkpoint_latest) or latest
            best = _describe(job, current.checkpoint_best) or best
    record = final_record(job)
    if record and record.export:
        export = _on_claim(job, record.export)
    return Checkpoints(claim=job.run.checkpoints.claim if job.run else "", latest=latest, best=best, export=export)


def _sources_of_old_pods(job: JobView) -> Iterator[TerminationRecord]:
    if job.observed.last_words is not None:
        yield job.observed.last_words
    for pod in sorted(job.old_pods, key=lambda pod: pod.attempt):
        if pod.rank == 0 and pod.termination is not None:
            yield pod.termination


def _describe(job: JobView, wire: Mapping[str, Any] | None) -> CheckpointStatus | None:
    if not wire:
        return None
    facts = CheckpointFacts.from_wire(wire)
    return CheckpointStatus(
        step=facts.step,
        epoch=round(facts.epoch, 4),
        path=_on_claim(job, facts.path),
        bytes=facts.bytes,
        time=format_time(facts.time),
        metric=facts.metric,
    )


def _on_claim(job: JobView, path: str) -> str:
    return clip(f"{job.owner.uid}/{path}", _MAX_PATH_BYTES)
