"""The last report: what remains of the pod once it is gone, at most 4,000 bytes in the container's termination message."""

import contextlib
import json
from pathlib import Path
from typing import Any

from oarlock_api.contract import Failure, TerminationRecord
from oarlock_api.metrics import METRICS_BY_NAME
from oarlock_api.termination_record import fit_termination_record
from oarlock_trainer.agent.config import AgentConfig
from oarlock_trainer.agent.evidence import Verdict
from oarlock_trainer.agent.status import Snapshot, list_warnings

_MAX_BYTES = {"cause": 40, "phase": 40, "message": 500, "remedy": 300, "detail": 1100}
"""Of a failure's texts, as JSON: in sum they leave room for the rest, so that the cause always survives."""
_MAX_WARNINGS = 3
_MAX_WARNING_BYTES = 150
_MAX_NOTE_BYTES = 200
_MAX_NON_FINITE = 6
_MAX_NAME_BYTES = 66


def build_termination_record(config: AgentConfig, snapshot: Snapshot, verdict: Verdict) -> TerminationRecord:
    """Put together the last report."""
    progress = snapshot.progress
    warnings = [*list_warnings(snapshot), *verdict.warnings]
    return TerminationRecord(
        job_uid=config.job_uid,
        run_hash=config.run_hash,
        attempt=config.attempt,
        node=config.node,
        outcome=verdict.outcome,
        position=progress.position,
        step=progress.step,
        steps=int(progress.number("steps")),
        epoch=progress.number("epoch"),
        metrics={name: value for name, value in progress.metrics.items() if name in METRICS_BY_NAME},
        non_finite=[_clip(name, _MAX_NAME_BYTES) for name in progress.non_finite[:_MAX_NON_FINITE]],
        checkpoint_latest=progress.record("checkpoint_latest"),
        checkpoint_best=progress.record("checkpoint_best"),
        export=str(progress.report.get("export") or ""),
        dataset=progress.record("dataset"),
        failure=clip_failure(verdict.failure) if verdict.failure else None,
        retries=snapshot.retries,
        level=str(progress.report.get("level") or ""),
        warnings=[_clip(warning, _MAX_WARNING_BYTES) for warning in warnings[-_MAX_WARNINGS:]],
        notes=[_clip(note, _MAX_NOTE_BYTES) for note in progress.notes[-_MAX_WARNINGS:]],
    )


def write_termination_record(path: Path, record: TerminationRecord) -> None:
    """Write the record so that a reader sees all of it or none, where the file allows that.

    In Kubernetes the file is a mount point: nothing can be renamed onto it, so there it is written in place, at once.

    Raises:
        OSError: if the file can be written neither way.
    """
    content = fit_termination_record(record).encode()
    unfinished = path.with_name(path.name + ".new")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        path.write_bytes(content)


def clip_failure(failure: Failure) -> dict[str, Any]:
    """Return the failure in wire form, each text within its share: of a detail the end, of others the start."""
    wire = failure.to_wire()
    return {
        key: _clip(value, _MAX_BYTES[key], keep_end=key == "detail")
        if isinstance(value, str) and key in _MAX_BYTES
        else value
        for key, value in wire.items()
    }


def _clip(text: str, limit: int, *, keep_end: bool = False) -> str:
    """Shorten a text until its JSON form has at most `limit` bytes."""
    if len(json.dumps(text)) <= limit:
        return text
    kept = text[-limit:] if keep_end else text[:limit]
    while len(json.dumps(kept + "…")) > limit:
        excess = max(1, (len(json.dumps(kept + "…")) - limit) // 12)
        kept = kept[excess:] if keep_end else kept[:-excess]
    return "…" + kept if keep_end else kept + "…"
