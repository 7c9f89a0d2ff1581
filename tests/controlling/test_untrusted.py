import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oarlock_api.contract import (
    MAX_STATUS_BYTES,
    CheckpointFacts,
    DatasetFacts,
    Failure,
    RankStatus,
    TerminationRecord,
    WorkerStatus,
)
from oarlock_api.termination_record import fit_termination_record
from oarlock_operator.untrusted import Identity, Reading, read_termination_record, read_worker_status

RUN = Identity(job_uid="uid", attempt=2, run_hash="hash")
IDENTITY = {"jobUid": "uid", "attempt": 2, "runHash": "hash", "node": 0}
CHECKPOINT = CheckpointFacts(step=40, epoch=2.0, path="checkpoints/step-40", bytes=10, time=1e9, metric=0.9)


def record(**fields: Any) -> str:
    return json.dumps({**IDENTITY, "outcome": "Succeeded", **fields})


def status(**fields: Any) -> bytes:
    return json.dumps({**IDENTITY, "phase": "Training", "phaseSince": 1e9, **fields}).encode()


def test_record_arrives_whole_when_it_is_what_the_agent_writes() -> None:
    sent = TerminationRecord(
        job_uid="uid",
        run_hash="hash",
        attempt=2,
        node=0,
        outcome="Failed",
        step=40,
        epoch=2.0,
        metrics={"validation/accuracy": 0.9},
        checkpoint_latest=CHECKPOINT.to_wire(),
        failure=Failure(cause="OutOfMemory", message="rank 1 was killed", rank=1).to_wire(),
        warnings=["one"],
    )

    assert read_termination_record(fit_termination_record(sent), expected=RUN).value == sent


def test_what_a_program_does_is_believed_within_bounds() -> None:
    said = read_worker_status(status(level="L7", activity={"cpuCores": 1.5, "x": 1}), expected=RUN).value
    wrong = [{"cpuCores": -1}, {"cpuSeconds": "1"}, {"lastOutput": 1e300}]

    assert said is not None
    assert (said.level, said.activity) == ("", {"cpuSeconds": 0.0, "cpuCores": 1.5})
    assert all(read_worker_status(status(activity=each), expected=RUN).value is None for each in wrong)


def test_dataset_facts_arrive_whole_when_an_import_writes_them() -> None:
    facts = DatasetFacts(
        version="ab",
        path="digits-1/ab",
        bytes=9,
        classes=["0", "1"],
        class_count=2,
        counts={"train": 3},
        class_counts={"train": [1, 2]},
        sample_shape=[28, 28, 1],
        rejected=1,
        first_rejects=["x.png: truncated"],
    )

    value = read_termination_record(record(dataset=facts.to_wire()), expected=RUN).value

    assert value
    assert DatasetFacts.from_wire(value.dataset or {}) == facts


def test_status_arrives_whole_when_it_is_what_the_agent_answers() -> None:
    rank = RankStatus(rank=0, pid=7, phase="Training", step=3, since=1e9, rss=2**30)
    sent = WorkerStatus(
        job_uid="uid",
        run_hash="hash",
        attempt=2,
        node=0,
        phase="Training",
        phase_since=1e9,
        step=3,
        eta_seconds=12.5,
        metrics={"train/loss": 0.5},
        checkpoint_latest=CHECKPOINT.to_wire(),
        ranks=[rank.to_wire()],
    )

    assert read_worker_status(sent.to_json().encode(), expected=RUN).value == sent


@pytest.mark.parametrize("field", ["jobUid", "attempt", "runHash"])
def test_record_is_not_used_when_it_is_of_another_run(field: str) -> None:
    reading = read_termination_record(record(**{field: 3 if field == "attempt" else "other"}), expected=RUN)

    assert reading.value is None
    assert "of another run" in reading.note


FACTS = {"version": "ab", "path": "p/ab", "bytes": 1, "classes": [], "classCount": 0, "counts": {}} | {
    "classCounts": {},
    "sampleShape": [1],
}
HOSTILE = {
    "no JSON": "Segmentation fault",
    "a list": "[]",
    "deeply nested": "[" * 4000,
    "endless": record(export="x" * 5000),
    "no number": record(step="NaN"),
    "not a number": record().replace('"attempt": 2', '"attempt": 2, "epoch": NaN'),
    "infinite": record().replace('"attempt": 2', '"attempt": 2, "epoch": 1e999'),
    "negative step": record(step=-1),
    "giant integer": record().replace('"attempt": 2', '"attempt": 2, "step": 1' + "0" * 3000),
    "fraction of a step": record(step=1.5),
    "truth as a number": record(step=True),
    "metric is text": record(metrics={"loss": "low"}),
    "unknown outcome": record(outcome="Promoted"),
    "missing outcome": json.dumps(IDENTITY),
    "path out of the volume": record(export="../../etc"),
    "absolute path": record(checkpointLatest={**CHECKPOINT.to_wire(), "path": "/etc"}),
    "year 33658": record(checkpointLatest={**CHECKPOINT.to_wire(), "time": 1e12}),
    "path with a line break": record(export="export\nmodel"),
    "version that is no hash": record(dataset={**FACTS, "version": "../other"}),
    "unknown split": record(dataset={**FACTS, "counts": {"<b>train</b>": 1}}),
    "sample of many dimensions": record(dataset={**FACTS, "sampleShape": [1] * 100}),
    "sample of a terabyte": record(dataset={**FACTS, "sampleShape": [2**40]}),
    "another job's": json.dumps({**IDENTITY, "outcome": "Succeeded", "jobUid": "another"}),
    "checkpoint is a list": record(checkpointLatest=[]),
    "negative count": record(
        dataset=DatasetFacts(
            version="a",
            path="p",
            bytes=1,
            classes=[],
            class_count=0,
            counts={"train": -1},
            class_counts={},
            sample_shape=[1],
        ).to_wire()
    ),
}


@pytest.mark.parametrize("message", HOSTILE.values(), ids=HOSTILE)
def test_record_counts_as_absent_with_a_note_when_it_is_hostile(message: str) -> None:
    reading = read_termination_record(message, expected=RUN)

    assert reading.value is None
    assert reading.note.startswith("termination record is not used: ")
    assert len(reading.note) < 500


def test_nothing_is_noted_when_nothing_was_said() -> None:
    assert read_termination_record(" \n", expected=RUN).note == ""


def test_text_is_cleaned_when_it_would_paint_a_terminal() -> None:
    failure = {"cause": "UserError", "message": "\x1b[31mred\x00 \u202egnol\ud800", "detail": "line\n\tline"}

    value = read_termination_record(record(failure=failure), expected=RUN).value

    assert value
    assert value.failure
    assert value.failure["message"] == "[31mred gnol?"
    assert value.failure["detail"] == "line\n\tline"


def test_cause_is_unknown_when_no_such_cause_exists() -> None:
    value = read_termination_record(record(failure={"cause": "Sabotage", "message": ""}), expected=RUN).value

    assert value
    assert (value.failure or {})["cause"] == "Unknown"


def test_status_is_not_used_when_it_is_larger_than_agreed() -> None:
    reading = read_worker_status(status(warnings=["x" * MAX_STATUS_BYTES]), expected=RUN)

    assert reading.value is None
    assert str(MAX_STATUS_BYTES) in reading.note


@pytest.mark.parametrize(
    "fields",
    [
        {"ranks": [{}] * 10_000},
        {"ranks": [1] * 30_000},
        {"metrics": {f"m{number}": 1 for number in range(3000)}},
        {"warnings": [[[[[[[["deep"]]]]]]]]},
        {"position": -1},
        {"phaseSince": -1.0},
        {"etaSeconds": -5.0},
        {"step": 2**60},
        {"attempt": 10**18},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_status_counts_as_unsaid_when_it_is_out_of_bounds(fields: dict[str, Any]) -> None:
    reading = read_worker_status(status(**fields), expected=RUN)

    assert reading.value is None
    assert len(reading.note) < 500


def test_unknown_fields_are_ignored_when_a_newer_agent_sends_them() -> None:
    assert read_worker_status(status(temperature={"gpu": 71}), expected=RUN).value


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
fields = st.sampled_from(
    [
        "step",
        "epoch",
        "metrics",
        "checkpointLatest",
        "checkpointBest",
        "failure",
        "dataset",
        "warnings",
        "ranks",
        "phase",
    ]
)


@given(fields=st.dictionaries(fields, json_values, max_size=5))
def test_reading_never_raises_and_what_it_returns_can_be_written(fields: dict[str, Any]) -> None:
    readings: list[Reading[Any]] = [
        read_termination_record(record(**fields), expected=RUN),
        read_worker_status(status(**fields), expected=RUN),
    ]
    for reading in readings:
        assert (reading.value is None) == bool(reading.note)
        if reading.value:
            reading.value.to_json().encode()


@given(content=st.binary(max_size=200))
def test_reading_never_raises_whatever_the_bytes(content: bytes) -> None:
    assert read_worker_status(content, expected=RUN).value is None
