"""The metrics page: Prometheus' text format, version 0.0.4. Pure.

Training figures come from the one table in `oarlock_api.metrics`; what the agent knows by itself is listed here. The labels
namespace, pod and job are the scraper's to add.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from oarlock_api.contract import PodPhase
from oarlock_api.metrics import METRICS, METRICS_BY_NAME, PROMETHEUS_PREFIX
from oarlock_trainer.agent.status import Snapshot

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """One metric of the agent's own."""

    name: str
    help: str
    type: str = "gauge"

    @property
    def prometheus_name(self) -> str:
        return PROMETHEUS_PREFIX + self.name


STEP = Family(name="step", help="Optimizer steps done since the start of the run, across all attempts.")
EPOCH = Family(name="epoch", help="Epochs done since the start of the run.")
PROGRESS = Family(name="progress_ratio", help="Share of the run's steps that is done.")
ETA = Family(name="eta_seconds", help="Expected time until the run is done.")
SAMPLES = Family(name="samples", help="Samples consumed since the start of the run, across all attempts.")
CHECKPOINT_STEP = Family(name="checkpoint_last_step", help="Step of the latest checkpoint that is verified.")
CHECKPOINT_TIME = Family(
    name="checkpoint_last_timestamp_seconds", help="Unix time at which that checkpoint was complete."
)
CHECKPOINT_BYTES = Family(name="checkpoint_bytes", help="Size of the latest checkpoint.")
NON_FINITE = Family(name="non_finite_metrics", help="Figures that are not finite at present.")
RETRIES = Family(name="retries_total", help="Times that torchrun was started again in this pod.", type="counter")
STARTUP = Family(
    name="startup_phase_seconds",
    help="What rank 0 spent of its start on, from its process's own start to its first step.",
)
WORLD_SIZE = Family(name="world_size", help="Training processes of the attempt, all pods together.")
BUILD = Family(name="build_info", help="1; what the training process is made of.")
PROGRAM = Family(name="program_metric", help="Figures of a script under names of its own.")
PROGRAM_CPU = Family(name="program_cpu_cores", help="Cores that the processes of a script keep busy in this pod.")
PHASE = Family(name="phase", help="1 for the phase that the pod is in.")
RANK_RSS = Family(name="rank_rss_bytes", help="Resident memory of a training process.")
RANK_STEP = Family(name="rank_step", help="Step that a training process is at.")
RANK_PROGRESS = Family(
    name="rank_last_progress_timestamp_seconds", help="Unix time of a process's last sign of progress."
)

AGENT_FAMILIES = (
    STEP,
    EPOCH,
    PROGRESS,
    ETA,
    SAMPLES,
    CHECKPOINT_STEP,
    CHECKPOINT_TIME,
    CHECKPOINT_BYTES,
    NON_FINITE,
    RETRIES,
    STARTUP,
    WORLD_SIZE,
    BUILD,
    PROGRAM,
    PROGRAM_CPU,
    PHASE,
    RANK_RSS,
    RANK_STEP,
    RANK_PROGRESS,
)


def render_metrics(snapshot: Snapshot) -> str:
    """Return the page for one snapshot; figures that are not known are left out."""
    lines = [*_render_table(snapshot), *_render_agent(snapshot)]
    return "\n".join(lines) + "\n"


def _render_table(snapshot: Snapshot) -> Iterator[str]:
    values = snapshot.progress.metrics
    families = dict.fromkeys(metric.family for metric in METRICS if metric.name in values)
    for family in families:
        members = [metric for metric in METRICS if metric.family == family and metric.name in values]
        samples = [(metric.labels, values[metric.name]) for metric in members]
        yield from _render(members[0].prometheus_name, members[0].help, "gauge", samples)


def _render_agent(snapshot: Snapshot) -> Iterator[str]:
    for family in AGENT_FAMILIES:
        samples = [(labels, value) for labels, value in _list_samples(family, snapshot) if math.isfinite(value)]
        if samples:
            yield from _render(family.prometheus_name, family.help, family.type, samples)


def _list_samples(family: Family, snapshot: Snapshot) -> Iterator[tuple[Labels, float]]:
    if family is PHASE:
        yield from (((("phase", phase.value),), float(phase is snapshot.phase)) for phase in PodPhase)
    elif family is STARTUP:
        seconds = snapshot.progress.record("startup_seconds") or {}
        yield from (((("phase", str(phase)),), float(took)) for phase, took in seconds.items() if _is_number(took))
    elif family is BUILD and (build := snapshot.progress.record("build")):
        yield tuple((str(name), str(value)) for name, value in sorted(build.items())), 1.0
    elif family is PROGRAM:
        own = {name: value for name, value in snapshot.progress.metrics.items() if name not in METRICS_BY_NAME}
        yield from (((("name", name),), value) for name, value in own.items())
    elif family in (RANK_RSS, RANK_STEP, RANK_PROGRESS):
        yield from _list_rank_samples(family, snapshot)
    elif (value := _collect_pod_values(snapshot).get(family.name)) is not None:
        yield (), value


def _list_rank_samples(family: Family, snapshot: Snapshot) -> Iterator[tuple[Labels, float]]:
    for local_rank, reading in sorted(snapshot.readings.items()):
        value = {
            RANK_RSS.name: snapshot.resident_bytes.get(local_rank),
            RANK_STEP.name: reading.step,
            RANK_PROGRESS.name: reading.since,
        }[family.name]
        if value is not None:
            yield (("rank", str(reading.rank)),), float(value)


def _collect_pod_values(snapshot: Snapshot) -> dict[str, float | None]:
    progress = snapshot.progress
    steps = progress.number("steps")
    checkpoint = progress.record("checkpoint_latest") or {}
    return {
        STEP.name: progress.step,
        EPOCH.name: progress.number("epoch"),
        PROGRESS.name: min(1.0, progress.step / steps) if steps else None,
        ETA.name: progress.number("eta_seconds", math.nan),
        SAMPLES.name: progress.position,
        CHECKPOINT_STEP.name: checkpoint.get("step"),
        CHECKPOINT_TIME.name: checkpoint.get("time"),
        CHECKPOINT_BYTES.name: checkpoint.get("bytes"),
        NON_FINITE.name: len(progress.non_finite),
        RETRIES.name: snapshot.retries,
        PROGRAM_CPU.name: (progress.record("activity") or {}).get("cpuCores"),
        WORLD_SIZE.name: progress.number("world_size", math.nan),
    }


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _render(name: str, description: str, kind: str, samples: list[tuple[Labels, float]]) -> Iterator[str]:
    yield f"# HELP {name} {_escape(description)}"
    yield f"# TYPE {name} {kind}"
    for labels, value in samples:
        body = ",".join(f'{label}="{_escape(text, quote=True)}"' for label, text in labels)
        yield f"{name}{{{body}}} {value!r}" if body else f"{name} {value!r}"


def _escape(text: str, *, quote: bool = False) -> str:
    escaped = text.replace("\\", "\\\\").replace("\n", "\\n")
    return escaped.replace('"', '\\"') if quote else escaped
