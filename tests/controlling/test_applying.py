import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oarlock_operator import names
from oarlock_operator.applying import find_missing, is_same_child, without_empty_texts


def make_pod(*, owner: str = "uid", attempt: str = "0", rank: str = "0", run_hash: str = "hash") -> dict[str, Any]:
    return {
        "kind": "Pod",
        "metadata": {
            "name": "pod",
            "labels": {names.ATTEMPT_LABEL: attempt, names.RANK_LABEL: rank},
            "annotations": {names.RUN_HASH_ANNOTATION: run_hash},
            "ownerReferences": [{"kind": "TrainingJob", "name": "job", "uid": owner, "controller": True}],
        },
    }


def make_claim(label: str, value: str) -> dict[str, Any]:
    return {"kind": "PersistentVolumeClaim", "metadata": {"name": "claim", "labels": {label: value}}}


@pytest.mark.parametrize(
    "other",
    [
        make_pod(owner="other"),
        make_pod(attempt="1"),
        make_pod(rank="1"),
        make_pod(run_hash="other"),
        {"kind": "Pod", "metadata": {"name": "pod"}},
    ],
    ids=["owner", "attempt", "rank", "run", "bare"],
)
def test_pod_is_another_when_it_was_made_for_something_else(other: dict[str, Any]) -> None:
    assert is_same_child(make_pod(), make_pod())
    assert not is_same_child(make_pod(), other)


def own(claim: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {**claim, "metadata": {**claim["metadata"], **metadata}}


def test_claim_is_the_same_when_it_carries_the_label_of_the_job_and_stays() -> None:
    ours = make_claim(names.JOB_LABEL, "lenet")
    owned = own(ours, ownerReferences=make_pod(owner="mine")["metadata"]["ownerReferences"])

    assert is_same_child(ours, own(ours, uid="of an earlier job"))
    assert is_same_child(owned, ours)
    assert is_same_child(owned, owned)
    assert not is_same_child(owned, own(ours, ownerReferences=make_pod(owner="gone")["metadata"]["ownerReferences"]))
    assert not is_same_child(owned, own(owned, deletionTimestamp="2026-01-01T00:00:00Z"))
    assert not is_same_child(ours, make_claim(names.JOB_LABEL, "other"))
    assert not is_same_child(ours, make_claim(names.DATASET_LABEL, "lenet"))


@pytest.mark.parametrize(
    ("stored", "path"),
    [
        ({"a": 1, "b": {"c": [1, {"d": 2}]}}, ""),
        ({"a": 1, "b": {"c": [1, {"d": 2}]}, "more": 1}, ""),
        ({"a": 1.0, "b": {"c": [1, {"d": 2}]}}, ""),
        ({"b": {"c": [1, {"d": 2}]}}, "status.a"),
        ({"a": 1, "b": {"c": [1, {}]}}, "status.b.c[1].d"),
        ({"a": 1, "b": {"c": [1]}}, "status.b.c"),
        ({"a": 1}, "status.b"),
        (None, "status"),
    ],
)
def test_first_thing_that_the_server_did_not_store_is_named(stored: Any, path: str) -> None:
    assert find_missing({"a": 1, "b": {"c": [1, {"d": 2}]}}, stored, path="status") == path


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1, max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(status=st.dictionaries(st.text(min_size=1, max_size=3), json_values, max_size=4))
def test_nothing_is_missing_when_all_was_stored_and_more(status: dict[str, Any]) -> None:
    stored = copy.deepcopy(status)

    assert find_missing(status, {**stored, "more": 1}, path="status") == ""
    assert without_empty_texts(without_empty_texts(status)) == without_empty_texts(status)


def test_empty_texts_are_left_out_except_in_the_frozen_run() -> None:
    status = {"reason": "", "conditions": [{"type": "Valid", "message": ""}], "run": {"storageClass": ""}}

    assert without_empty_texts(status) == {"conditions": [{"type": "Valid"}], "run": {"storageClass": ""}}
