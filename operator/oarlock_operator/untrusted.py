"""Reading what trainer pods say: their status answers and termination records.

A pod runs code of its user, so whatever it says is bounded, cleaned, validated and compared with the run that the operator
started; what does not pass counts as not said, with a note for the log. Pure: no I/O, no clock.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, NoReturn, TypeVar

from pydantic import TypeAdapter, ValidationError

from oarlock_api.contract import (
    MAX_STATUS_BYTES,
    Cause,
    CheckpointFacts,
    DatasetFacts,
    Failure,
    JoinState,
    JoinStatus,
    Outcome,
    PodPhase,
    RankStatus,
    StalledRank,
    Standing,
    TerminationRecord,
    WorkerStatus,
)
from oarlock_api.record import Record
from oarlock_api.script_reports import ScriptActivity, ScriptLevel
from oarlock_operator.plain_text import clean_text
from oarlock_operator.policy.times import LATEST_TIME

MAX_TERMINATION_MESSAGE_BYTES = 4096
"""The kubelet keeps no more; whatever is longer did not come from one."""

_MAX_DEPTH = 6
_MAX_ITEMS = 2048
_MAX_TEXT = 4096
_MAX_METRICS = 64
_MAX_WARNINGS = 8
_MAX_STALLED = 8
_LARGEST_INTEGER = 2**53
_MAX_NAME = 128
_MAX_PATH = 1024
_MAX_DIMENSIONS = 4
_LARGEST_SIDE = 2**20
_VERSION = re.compile(r"[0-9a-f]{1,64}")
_SPLITS = frozenset({"train", "validation", "test"})

R = TypeVar("R", bound=Record)


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """The run that a pod was started for."""

    job_uid: str
    attempt: int
    run_hash: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading(Generic[R]):
    """What was understood."""

    value: R | None
    note: str = ""
    """Why there is no value; empty if there is one, or if nothing was said."""


class _RejectedError(ValueError):
    pass


def read_worker_status(content: bytes, *, expected: Identity) -> Reading[WorkerStatus]:
    """Read the answer of an agent."""
    try:
        status = _read(WorkerStatus, content, limit=MAX_STATUS_BYTES)
        _check_identity(status, expected)
        return Reading(value=_settle_status(status))
    except _RejectedError as error:
        return Reading(value=None, note=f"status is not used: {error}")


def read_termination_record(message: str, *, expected: Identity) -> Reading[TerminationRecord]:
    """Read the termination message of a container; an empty one says nothing."""
    if not message.strip():
        return Reading(value=None)
    try:
        record = _read(TerminationRecord, message.encode(errors="replace"), limit=MAX_TERMINATION_MESSAGE_BYTES)
        _check_identity(record, expected)
        return Reading(value=_settle_record(record))
    except _RejectedError as error:
        return Reading(value=None, note=f"termination record is not used: {error}")


def _read(kind: type[R], content: bytes, *, limit: int) -> R:
    if len(content) > limit:
        raise _RejectedError(f"it has {len(content)} bytes, at most {limit} are read")
    try:
        wire = json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise _RejectedError(f"it is not JSON ({clean_text(str(error), limit=100)})") from None
    if not isinstance(wire, dict):
        raise _RejectedError("it is not a JSON object")
    return _validate(kind, _clean(wire, depth=0))


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")


def _clean(value: Any, *, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise _RejectedError(f"it is nested more than {_MAX_DEPTH} deep")
    if isinstance(value, dict | list) and len(value) > _MAX_ITEMS:
        raise _RejectedError(f"a list or an object in it has {len(value)} items, at most {_MAX_ITEMS} are read")
    match value:
        case str():
            return clean_text(value, limit=_MAX_TEXT, keeps_lines=True)
        case dict():
            return {clean_text(key, limit=_MAX_NAME): _clean(item, depth=depth + 1) for key, item in value.items()}
        case list():
            return [_clean(item, depth=depth + 1) for item in value]
        case float() if not math.isfinite(value):
            raise _RejectedError("it holds a number that is not finite")
        case int() if abs(value) > _LARGEST_INTEGER:
            raise _RejectedError("it holds an integer beyond 2^53")
    return value


_ADAPTERS: dict[type[Record], TypeAdapter[Any]] = {
    kind: TypeAdapter(kind)
    for kind in (
        WorkerStatus,
        TerminationRecord,
        CheckpointFacts,
        DatasetFacts,
        Failure,
        RankStatus,
        JoinStatus,
        StalledRank,
        ScriptActivity,
    )
}


def _validate(kind: type[R], wire: Mapping[str, Any]) -> R:
    """Check the types of all known fields: `Record.from_wire` ignores unknown ones, but believes the others."""
    try:
        fields = {_snake(key): value for key, value in wire.items()}
        # Strictly, and as JSON: in Python's own strict mode pydantic takes no mapping for a dataclass.
        record: R = _ADAPTERS[kind].validate_json(json.dumps(fields), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _RejectedError(f"{clean_text(where, limit=100)}: {clean_text(first['msg'], limit=200)}") from None
    _check_counters(record)
    return record


def _snake(key: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key)


_COUNTERS = (
    *("attempt", "node", "position", "step", "steps", "epoch", "epochs", "eta_seconds", "checkpoint_in_flight"),
    *("cpu_seconds", "cpu_cores"),
    *("retries", "bytes", "rank", "pid", "rss", "class_count", "vocabulary_size", "rejected"),
)
_TIMES = ("phase_since", "time", "since", "due", "last_output")


def _check_counters(record: Record) -> None:
    for name in _COUNTERS:
        value = getattr(record, name, None)
        if value is not None and value < 0:
            raise _RejectedError(f"{name} is negative")
    for name in _TIMES:
        value = getattr(record, name, None)
        if value is not None and not 0 <= value <= LATEST_TIME:
            raise _RejectedError(f"{name} is not a time")


def _check_identity(record: WorkerStatus | TerminationRecord, expected: Identity) -> None:
    said = Identity(job_uid=record.job_uid, attempt=record.attempt, run_hash=record.run_hash)
    for name in ("job_uid", "attempt", "run_hash"):
        if getattr(said, name) != getattr(expected, name):
            found, wanted = clean_text(str(getattr(said, name)), limit=64), getattr(expected, name)
            raise _RejectedError(f"it is of another run: {name} is {found!r}, expected {wanted!r}")


_UNKNOWN_PHASE = "Unknown"
"""Stands for a phase that a newer trainer may know: what is not on the list reaches no status."""


def _settle_status(status: WorkerStatus) -> WorkerStatus:
    return replace(
        status,
        phase=status.phase if status.phase in set(PodPhase) else _UNKNOWN_PHASE,
        metrics=_few(status.metrics),
        non_finite=[_line(name, _MAX_NAME) for name in status.non_finite[:_MAX_METRICS]],
        checkpoint_latest=_checkpoint(status.checkpoint_latest),
        checkpoint_best=_checkpoint(status.checkpoint_best),
        ranks=[_rank(rank) for rank in status.ranks],
        join=_join(status.join),
        stalled=[_stalled(stalled) for stalled in status.stalled[:_MAX_STALLED]],
        warnings=_short(status.warnings),
        notes=_short(status.notes),
        level=status.level if status.level in set(ScriptLevel) else "",
        activity=_activity(status.activity),
    )


def _settle_record(record: TerminationRecord) -> TerminationRecord:
    if record.outcome not in set(Outcome):
        raise _RejectedError(f"outcome {record.outcome[:64]!r} is unknown")
    return replace(
        record,
        metrics=_few(record.metrics),
        non_finite=[_line(name, _MAX_NAME) for name in record.non_finite[:_MAX_METRICS]],
        checkpoint_latest=_checkpoint(record.checkpoint_latest),
        checkpoint_best=_checkpoint(record.checkpoint_best),
        export=_inner_path(record.export),
        dataset=_dataset(record.dataset),
        failure=_failure(record.failure),
        level=record.level if record.level in set(ScriptLevel) else "",
        warnings=_short(record.warnings),
        notes=_short(record.notes),
    )


def _checkpoint(wire: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if wire is None:
        return None
    facts = _validate(CheckpointFacts, wire)
    return replace(facts, path=_inner_path(facts.path)).to_wire()


def _activity(wire: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if wire is None else _validate(ScriptActivity, wire).to_wire()


def _rank(wire: Mapping[str, Any]) -> dict[str, Any]:
    rank = _validate(RankStatus, wire)
    return replace(rank, phase=rank.phase if rank.phase in set(PodPhase) else _UNKNOWN_PHASE).to_wire()


def _join(wire: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if wire is None:
        return None
    join = _validate(JoinStatus, wire)
    known = join.state in set(JoinState)
    return replace(
        join,
        state=join.state if known else _UNKNOWN_PHASE,
        endpoint=_line(join.endpoint, 300),
        detail=_line(join.detail, 300),
    ).to_wire()


def _stalled(wire: Mapping[str, Any]) -> dict[str, Any]:
    stalled = _validate(StalledRank, wire)
    return replace(
        stalled,
        phase=stalled.phase if stalled.phase in set(PodPhase) else _UNKNOWN_PHASE,
        standing=stalled.standing if stalled.standing in set(Standing) else Standing.UNKNOWN.value,
        where=_line(stalled.where, 200),
    ).to_wire()


def _failure(wire: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if wire is None:
        return None
    failure = _validate(Failure, wire)
    return replace(
        failure,
        cause=failure.cause if failure.cause in set(Cause) else Cause.UNKNOWN.value,
        message=_line(failure.message, _MAX_TEXT),
        remedy=_line(failure.remedy, _MAX_TEXT),
        phase=failure.phase if failure.phase in set(PodPhase) else "",
    ).to_wire()


def _dataset(wire: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if wire is None:
        return None
    facts = _validate(DatasetFacts, wire)
    counts = [*facts.counts.values(), *(count for row in facts.class_counts.values() for count in row)]
    if any(count < 0 for count in counts):
        raise _RejectedError("a count is negative")
    if len(facts.sample_shape) > _MAX_DIMENSIONS or not all(1 <= side <= _LARGEST_SIDE for side in facts.sample_shape):
        raise _RejectedError("sampleShape is no size of a sample")
    if not _VERSION.fullmatch(facts.version):
        raise _RejectedError("the version of the data set is no hash")
    if not facts.path:
        raise _RejectedError("the path of the data set is empty")
    if {*facts.counts, *facts.class_counts} - _SPLITS:
        raise _RejectedError("it counts the samples of unknown splits")
    return replace(
        facts,
        path=_inner_path(facts.path),
        classes=[_line(name, _MAX_NAME) for name in facts.classes[:50]],
        first_rejects=_short(facts.first_rejects),
    ).to_wire()


def _inner_path(path: str) -> str:
    """Return a path that stays where it is rooted: later pods mount what it names."""
    if path.startswith("/") or ".." in path.split("/") or len(path) > _MAX_PATH or _line(path, _MAX_PATH) != path:
        raise _RejectedError(f"path {_line(path, 100)!r} leads out of its volume, or is none")
    return path


def _few(metrics: Mapping[str, float]) -> dict[str, float]:
    return dict(list(metrics.items())[:_MAX_METRICS])


def _short(texts: list[str]) -> list[str]:
    return [_line(text, 300) for text in texts[:_MAX_WARNINGS]]


def _line(text: str, limit: int) -> str:
    return clean_text(text, limit=limit)
