"""Whose rule refuses a child, and who is asked again."""

from typing import Any

import pytest

from oarlock_operator.complaints import Complaints
from oarlock_operator.observing import ObjectWarning
from oarlock_operator.policy.refusals import Refused, find_refusal
from oarlock_operator.reconcile.observed import Refusal

NOW = 1_800_000_000.0
POD: dict[str, Any] = {"kind": "Pod", "metadata": {"name": "p"}}


def judge(message: str, *, status: int = 403, now: float = NOW) -> Refused | None:
    return find_refusal([POD], {"p": Refusal(message=message, time=NOW, status=status)}, now=now)


@pytest.mark.parametrize(
    ("message", "status", "reason", "remedy"),
    [
        ("exceeded quota: few, requested: pods=1", 403, "QuotaExceeded", "raise ResourceQuota few,"),
        ("maximum memory usage per Container is 1Gi, but limit is 2Gi", 403, "LimitRangeExceeded", "LimitRange"),
        ('admission webhook "w.io" denied the request: no', 400, "WebhookDenied", "webhook w.io"),
        ('failed calling webhook "w.io": refused', 500, "WebhookUnavailable", "server of webhook w.io"),
        ("no PriorityClass with name high was found", 403, "PriorityClassMissing", "create PriorityClass high"),
        ('violates PodSecurity "restricted:latest": x', 403, "PodSecurityDenied", "restricted:latest forbids"),
        ('User "sa:x" cannot create resource "pods"', 403, "RightMissing", "let sa:x create it"),
        ("unable to create new content because it is being terminated", 403, "NamespaceTerminating", "use another"),
        ("too many requests", 429, "ApiThrottled", "by itself"),
        ("etcdserver: no leader", 500, "ApiFailing", "read its log"),
        ("a rule that nobody knows", 403, "Refused", "raise the quota"),
        ("spec.containers[0].image: Required value", 422, "Refused", "correct podTemplate"),
    ],
)
def test_rule_and_remedy_are_named(message: str, status: int, reason: str, remedy: str) -> None:
    refused = judge(message, status=status)

    assert refused
    assert (refused.reason, refused.is_final, refused.is_transient) == (reason, status == 422, status >= 429)
    assert remedy in refused.message
    assert f"Pod p: {message}" in refused.message


def test_refusal_counts_for_half_a_minute_and_an_invalid_manifest_for_ever() -> None:
    assert judge("exceeded quota: few", now=NOW + 31) is None
    assert judge("invalid", status=422, now=NOW + 1000)


def warn(message: str, uid: str = "u") -> ObjectWarning:
    return ObjectWarning(kind="Pod", namespace="n", name="p", uid=uid, message=message)


def test_vague_words_hide_nothing_that_was_told() -> None:
    complaints = Complaints()
    told = complaints.note(warn("Failed: Failed to pull image: not found"), is_known=True)
    repeated = complaints.note(warn("Failed: Error: ImagePullBackOff"), is_known=True)

    assert (told, repeated) == (True, False)
    assert complaints.of("u") == "Failed: Failed to pull image: not found"


def test_word_that_comes_before_its_pod_is_kept_for_it_and_goes_with_it() -> None:
    complaints = Complaints()
    complaints.note(warn("FailedMount: no disk"), is_known=False)
    assert complaints.of("u") == ""

    complaints.welcome("u")
    assert complaints.of("u") == "FailedMount: no disk"

    complaints.forget("u")
    assert complaints.of("u") == ""


def test_words_about_what_never_comes_do_not_pile_up() -> None:
    complaints = Complaints()
    for number in range(2500):
        complaints.note(warn("FailedMount: x", uid=str(number)), is_known=False)
    complaints.welcome("0")
    complaints.welcome("2499")

    assert (complaints.of("0"), complaints.of("2499")) == ("", "FailedMount: x")


def test_what_the_scheduler_says_is_left_to_the_condition() -> None:
    complaints = Complaints()

    assert not complaints.note(warn("FailedScheduling: 0/1 nodes"), is_known=True)
