"""What goes into a status is bounded, whatever pods and servers say."""

from typing import Any

import hypothesis.strategies as st
from hypothesis import given, settings
from reconciling.dataset_states import run_import
from reconciling.job_states import train

from oarlock_api.contract import MAX_FAILURE_BYTES
from oarlock_api.metrics import METRICS_BY_NAME
from oarlock_api.v1alpha1.status import (
    MAX_STATUS_BYTES,
    Checkpoints,
    CheckpointStatus,
    Condition,
    ConditionStatus,
    DatasetProgress,
    FailureRecord,
    JobPhase,
    Progress,
)
from oarlock_operator.manifests.sizes import MAX_FROZEN_RUN_BYTES
from oarlock_operator.policy.bounds import clip, fit_failure, wire_size
from oarlock_operator.policy.conditions import MAX_MESSAGE_BYTES as MAX_CONDITION_BYTES
from oarlock_operator.policy.restarts import BUDGETS
from oarlock_operator.reconcile.dataset_facts import fit_dataset_status
from oarlock_operator.reconcile.job_status import MAX_MESSAGE_BYTES, fit_job_status

LONG = st.one_of(
    st.text(max_size=6000),
    st.builds(
        lambda letter, count: letter * count,
        st.sampled_from('a"\\\n\N{SNOWMAN}\N{GRINNING FACE}'),
        st.integers(0, 6000),
    ),
)


@given(text=LONG, limit=st.integers(0, 2000), keep_end=st.booleans())
def test_a_clipped_text_fits_and_is_a_part_of_the_whole(text: str, limit: int, *, keep_end: bool) -> None:
    clipped = clip(text, limit, keep_end=keep_end)
    kept = clipped.removeprefix("…") if keep_end else clipped.removesuffix("…")

    assert wire_size(clipped) - 2 <= limit
    assert clipped == text or (text.endswith(kept) if keep_end else text.startswith(kept))


def test_most_of_a_text_is_kept_when_it_is_clipped() -> None:
    assert clip("short", 5) == "short"
    assert len(clip("x" * 5000, 1000)) > 980
    assert clip("head" + "x" * 50 + "tail", 20, keep_end=True).endswith("xtail")


def failures() -> st.SearchStrategy[FailureRecord]:
    fields = dict.fromkeys(("message", "remedy", "pod", "pod_uid", "node", "detail"), LONG)
    times = st.just("2026-01-01T00:00:00.000Z")
    return st.builds(FailureRecord, attempt=st.integers(0, 10**6), cause=LONG, time=times, **fields).map(fit_failure)


@given(failure=failures())
def test_the_black_box_fits(failure: FailureRecord) -> None:
    assert wire_size(failure.to_wire()) <= MAX_FAILURE_BYTES


def test_the_end_of_the_traceback_is_what_stays() -> None:
    failure = FailureRecord(
        attempt=1, cause="UserError", message="m", detail="Traceback\n" + "x\n" * 5000 + "ValueError: 5"
    )

    assert fit_failure(failure).detail.endswith("ValueError: 5")


def largest_job_status(message: str, failure: FailureRecord) -> dict[str, Any]:
    """Every field as long as planning can make it."""
    time = "2026-01-01T00:00:00.000Z"
    kinds = ("Valid", "DatasetReady", "Suspended", "ProgressKnown", "Failed")
    checkpoint = CheckpointStatus(step=10**9, epoch=1e6, path=clip(message, 200), bytes=10**14, time=time, metric=0.5)
    return {
        "message": clip(message, MAX_MESSAGE_BYTES),
        "conditions": [
            Condition(
                type=kind,
                status=ConditionStatus.TRUE,
                reason="StartupDeadlineExceeded",
                message=clip(message, MAX_CONDITION_BYTES),
                last_transition_time=time,
                observed_generation=10**6,
            )
            for kind in kinds
        ],
        "run": {"filler": "x" * (MAX_FROZEN_RUN_BYTES - 20)},
        "progress": Progress(metrics=dict.fromkeys(METRICS_BY_NAME, 1 / 3), updated=time),
        "checkpoint": Checkpoints(claim="c" * 253, latest=checkpoint, best=checkpoint, export=clip(message, 200)),
        "restarts": dict.fromkeys(BUDGETS, 10**6),
        "failures": [failure] * 3,
        "phases": dict.fromkeys(JobPhase, 1e7 + 1 / 3),
    }


@settings(max_examples=50)
@given(message=LONG, failure=failures())
def test_a_job_s_status_fits_whatever_is_in_it(message: str, failure: FailureRecord) -> None:
    status = train().status.model_copy(update=largest_job_status(message, failure))

    fitted = fit_job_status(status)

    assert wire_size(fitted.to_wire()) <= MAX_STATUS_BYTES
    assert (fitted.run, fitted.restarts) == (status.run, status.restarts)


@settings(max_examples=50)
@given(text=LONG, failure=failures(), count=st.integers(0, 10**9))
def test_a_dataset_s_status_fits_whatever_is_in_it(text: str, failure: FailureRecord, count: int) -> None:
    splits = [f"{text[:200]}{number}" for number in range(40)]
    status = run_import().status.model_copy(
        update={
            "message": clip(text, 1000),
            "progress": DatasetProgress(samples=count),
            "classes": [clip(text, 4096)] * 50,
            "first_rejects": [text[:300]] * 8,
            "warnings": [text[:300]] * 8,
            "counts": dict.fromkeys(splits, count),
            "class_counts": {split: [count] * 50 for split in splits},
            "failures": [failure] * 3,
            "holders": ["h" * 40] * 50,
        }
    )

    assert wire_size(fit_dataset_status(status).to_wire()) <= MAX_STATUS_BYTES


def test_something_has_to_give_when_everything_is_as_long_as_it_may_be() -> None:
    failure = fit_failure(FailureRecord(attempt=1, cause="UserError", message="m" * 999, detail="d" * 9999))

    status = train().status.model_copy(update=largest_job_status("m" * 5000, failure))

    assert wire_size(status.to_wire()) > MAX_STATUS_BYTES


def test_a_small_status_stays_as_it_is() -> None:
    status = train().status

    assert fit_job_status(status) is status
