"""What trainers, schedulers and webhooks say, followed to where it ends: statuses and events that nobody's screen acts on."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from controlling.hostile_values import HOSTILE_TEXTS, plausible, reports
from hypothesis import given, settings
from hypothesis import strategies as st
from reconciling.dataset_states import plan_import, run_import
from reconciling.job_states import JOB_UID, NOW, end_pod, make_pod, plan, train

from oarlock_api.class_weights import find_classes_unknown_early
from oarlock_api.v1alpha1.recipe import Loss
from oarlock_api.v1alpha1.status import MAX_STATUS_BYTES, DatasetStatus, TrainingJobStatus
from oarlock_operator import names
from oarlock_operator.cluster.api_errors import build_error
from oarlock_operator.observing import observe_pod, observe_warning
from oarlock_operator.plain_text import clean_text
from oarlock_operator.policy.bounds import wire_size
from oarlock_operator.reconcile.observed import ObservedImport, ObservedJob, Refusal, WorkerReport
from oarlock_operator.reconcile.plans import Plan
from oarlock_operator.untrusted import _MAX_NAME, Identity, _line, read_termination_record, read_worker_status

JOB = train()
IMPORT = run_import()
PATIENT = settings(max_examples=60)


def find_texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from find_texts(key, f"{path}.{key}")
            yield from find_texts(item, f"{path}.{key}")
    elif isinstance(value, list):
        for item in value:
            yield from find_texts(item, path)


def assert_harmless(planned: Plan) -> None:
    """Check what a plan writes: small, JSON, and one line of plain text in each place but the end of a traceback."""
    status = planned.status
    wire = status.to_wire() if status else {}
    if isinstance(status, TrainingJobStatus):
        TrainingJobStatus.from_wire(wire)
    elif status is not None:
        DatasetStatus.from_wire(wire)
    json.dumps(wire, allow_nan=False).encode()
    assert wire_size(wire) <= MAX_STATUS_BYTES
    said = {key: value for key, value in wire.items() if key != "run"}
    for path, text in [*find_texts(said), *(("event", note.message) for note in planned.events)]:
        assert_plain(text, keeps_lines=path.endswith(".detail"))


def assert_plain(text: str, *, keeps_lines: bool = False) -> None:
    shown = text.replace("\n", "").replace("\t", "") if keeps_lines else text
    assert not [letter for letter in shown if ord(letter) < 0x20 or 0x7F <= ord(letter) < 0xA0], repr(text)
    assert not set(shown) & set("<>\u200b\u202e\u2066\u2028\ufeff\ud800\U000e0041"), repr(text)
    assert "](" not in shown


def identify(job: ObservedJob | ObservedImport) -> tuple[Identity, dict[str, Any]]:
    [pod, *_] = job.pods
    said = {"jobUid": pod.owner_uid, "attempt": pod.attempt, "runHash": pod.run_hash, "node": 0}
    return Identity(job_uid=pod.owner_uid, attempt=pod.attempt, run_hash=pod.run_hash), said


@PATIENT
@given(fields=plausible | reports)
def test_status_stays_small_and_plain_whatever_an_agent_answers(fields: dict[str, Any]) -> None:
    for job in (JOB, IMPORT):
        expected, said = identify(job)
        content = json.dumps({"phase": "Training", "phaseSince": NOW, **said, **fields}).encode()
        report = WorkerReport(status=read_worker_status(content, expected=expected).value, answered=NOW)
        changed = replace(job, report=report)
        assert_harmless(plan(changed) if isinstance(changed, ObservedJob) else plan_import(changed))


@PATIENT
@given(fields=plausible | reports, exit_code=st.sampled_from([0, 1, 70, 75, 137]))
def test_status_stays_small_and_plain_whatever_a_pod_leaves_behind(fields: dict[str, Any], exit_code: int) -> None:
    for job in (JOB, IMPORT):
        expected, said = identify(job)
        message = json.dumps({"outcome": "Failed" if exit_code else "Succeeded", **said, **fields})
        record = read_termination_record(message, expected=expected).value
        pods = (end_pod(job.pods[0], exit_code=exit_code, record=record), *job.pods[1:])
        changed = replace(job, pods=pods)
        assert_harmless(plan(changed) if isinstance(changed, ObservedJob) else plan_import(changed))


def make_raw_pod(text: str, status: dict[str, Any]) -> dict[str, Any]:
    own = make_pod(status=JOB.status)
    labels = {names.ATTEMPT_LABEL: "0", names.RANK_LABEL: "0"}
    return {
        "metadata": {
            "name": own.name,
            "uid": own.uid,
            "labels": labels,
            "annotations": {names.RUN_HASH_ANNOTATION: own.run_hash},
            "ownerReferences": [{"kind": "TrainingJob", "name": "lenet", "uid": JOB_UID, "controller": True}],
        },
        "spec": {"nodeName": "n1", "containers": []},
        "status": {"phase": "Pending", "reason": text, "message": text, **status},
    }


@pytest.mark.parametrize("text", HOSTILE_TEXTS, ids=range(len(HOSTILE_TEXTS)))
def test_status_stays_plain_whatever_the_cluster_says_of_a_pod(text: str) -> None:
    waiting = {"name": names.TRAINER_CONTAINER, "state": {"waiting": {"reason": text, "message": text}}}
    ended = {"name": names.TRAINER_CONTAINER, "state": {"terminated": {"exitCode": 3, "reason": text, "message": text}}}
    unschedulable = {"type": "PodScheduled", "status": "False", "reason": text, "message": text}
    disrupted = {"type": "DisruptionTarget", "status": "True", "reason": text, "message": text}
    for status in (
        {"containerStatuses": [waiting]},
        {"phase": "Failed", "containerStatuses": [ended]},
        {"conditions": [unschedulable]},
        {"phase": "Failed", "conditions": [disrupted]},
    ):
        assert_harmless(plan(replace(JOB, pods=(observe_pod(make_raw_pod(text, status)).pod,))))


@pytest.mark.parametrize("text", HOSTILE_TEXTS, ids=range(len(HOSTILE_TEXTS)))
def test_warnings_and_refusals_are_plain_whatever_webhooks_say(text: str) -> None:
    warning = observe_warning({"reason": text, "message": text, "involvedObject": {}})
    body = json.dumps({"message": text, "reason": "Forbidden"}).encode()
    refused = build_error(403, body, headers={}, verb="create", reference=None)
    refusal = Refusal(message=str(refused), time=NOW, status=403)

    assert_plain(warning.message)
    assert_plain(str(refused))
    missing = JOB.pods[0].name
    assert_harmless(plan(replace(JOB, pods=(), refusals={missing: refusal})))


@given(text=st.text() | st.sampled_from(HOSTILE_TEXTS), limit=st.integers(0, 500))
def test_cleaning_is_final_bounded_and_leaves_plain_words_alone(text: str, limit: int) -> None:
    once = clean_text(text, limit=limit)

    assert len(once) <= limit
    assert_plain(once)
    assert clean_text(once, limit=limit) == once
    assert clean_text("loss is nan at step 7: see /oarlock/runs/log.jsonl", limit=100).startswith("loss is nan at")


@given(
    written=st.lists(st.text(alphabet=[*"ab <>](\n\u00e4\u200b\u202e"], min_size=1) | st.text(min_size=60), min_size=1)
)
def test_no_weight_of_a_class_is_refused_for_how_the_status_shows_its_name(written: list[str]) -> None:
    weights = Loss.model_construct(weight_by_class=dict.fromkeys(written, 2.0))
    shown = [_line(name, _MAX_NAME) for name in written]

    assert list(find_classes_unknown_early(weights, shown, count=len(shown))) == []
