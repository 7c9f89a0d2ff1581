"""What to make of the server's refusal to create a child: whose rule it is, and whether to ask again or give up. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from oarlock_operator.policy.bounds import clip
from oarlock_operator.reconcile.observed import Refusal

RETRY_SECONDS = 30.0
_INVALID, _TOO_MANY, _SERVER_ERRORS = 422, 429, 500
_MAX_SAID = 600


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """A refusal that stands."""

    reason: str
    message: str
    retry_at: float
    is_final: bool
    """Whether the server would say the same again: the manifest is invalid."""
    is_transient: bool
    """Whether the server is only busy or ill: then it is asked again all the same, later each time."""


def is_busy(refusal: Refusal) -> bool:
    """Say whether the server has only no time, or is ill: that is no word on what was to be created."""
    return refusal.status == _TOO_MANY or refusal.status >= _SERVER_ERRORS


@dataclass(frozen=True, slots=True)
class _Rule:
    reason: str
    words: re.Pattern[str]
    remedy: str
    """With the groups of `words` in braces."""


def _rule(reason: str, words: str, remedy: str) -> _Rule:
    return _Rule(reason, re.compile(words), remedy)


_RULES = (
    _rule("QuotaExceeded", r"exceeded quota: (?P<name>[^,\s]+)", "raise ResourceQuota {name}, or let other pods end"),
    _rule(
        "LimitRangeExceeded",
        r"(maximum|minimum|max limit to request).{1,80} per (Container|Pod|PersistentVolumeClaim)",
        "ask for what the LimitRange of this namespace allows, or change it",
    ),
    _rule(
        "WebhookUnavailable",
        r'failed calling webhook "(?P<name>[^"]+)"',
        "see to the server of webhook {name}, or remove its configuration",
    ),
    _rule(
        "WebhookDenied",
        r'admission webhook "(?P<name>[^"]+)" denied',
        "satisfy the policy of webhook {name}, or have it changed",
    ),
    _rule(
        "PriorityClassMissing",
        r"no PriorityClass with name (?P<name>\S+) was found",
        "create PriorityClass {name}, or correct podTemplate.priorityClassName",
    ),
    _rule(
        "ServiceAccountMissing",
        r'serviceaccount "(?P<name>[^"]+)" not found',
        "create ServiceAccount {name} in this namespace",
    ),
    _rule(
        "RuntimeClassMissing",
        r'RuntimeClass "(?P<name>[^"]+)" not found',
        "create RuntimeClass {name}, or correct podTemplate.runtimeClassName",
    ),
    _rule(
        "PodSecurityDenied",
        r'violates PodSecurity "(?P<name>[^"]+)"',
        "leave out what Pod Security {name} forbids, or label the namespace for a wider level",
    ),
    _rule("NamespaceTerminating", r"because it is being terminated", "the namespace is being deleted: use another"),
    _rule(
        "PodGroupsMissing",
        # What a server answers that does not know the group, version or kind: all other kinds of ours are its own.
        r"^(404 page not found|the server could not find the requested resource)",
        "install the scheduler to which gangs are handed over, with its CustomResourceDefinition of PodGroups, or have the"
        " administrator empty queue.podGroups of the chart",
    ),
    _rule(
        "RightMissing",
        r'User "(?P<name>[^"]+)" cannot create',
        "let {name} create it, as the chart's Role does",
    ),
)


def find_refusal(
    children: Iterable[Mapping[str, Any]], refusals: Mapping[str, Refusal], *, now: float
) -> Refused | None:
    """Return the refusal of one of `children` that is final or too recent to ask again; None: they may be created."""
    for child in children:
        refusal = refusals.get(child["metadata"]["name"])
        if refusal is None:
            continue
        is_final = refusal.status == _INVALID
        if is_final or now < refusal.time + RETRY_SECONDS:
            return _judge(child["kind"], child["metadata"]["name"], refusal, is_final=is_final)
    return None


def _judge(kind: str, name: str, refusal: Refusal, *, is_final: bool) -> Refused:
    is_transient = is_busy(refusal)
    reason, remedy = _explain(refusal, is_final=is_final)
    verb = "cannot create now" if is_transient else "refuses"
    again = "" if is_final or is_transient else f"; it is asked again every {RETRY_SECONDS:.0f} s"
    return Refused(
        reason=reason,
        message=f"the API server {verb} {kind} {name}: {clip(refusal.message.rstrip('.'), _MAX_SAID)}."
        f" Remedy: {remedy}{again}",
        retry_at=refusal.time + RETRY_SECONDS,
        is_final=is_final,
        is_transient=is_transient,
    )


def _explain(refusal: Refusal, *, is_final: bool) -> tuple[str, str]:
    if is_final:
        return "Refused", "correct podTemplate, resources or the volume"
    for rule in _RULES:
        if found := rule.words.search(refusal.message):
            return rule.reason, rule.remedy.format(**found.groupdict())
    if refusal.status == _TOO_MANY:
        return (
            "ApiThrottled",
            "none is needed if it passes: it is asked again by itself. If it stays, look for who floods it",
        )
    if refusal.status >= _SERVER_ERRORS:
        return "ApiFailing", "none is needed if it passes: it is asked again by itself. If it stays, read its log"
    return "Refused", "raise the quota, or see to the policy that refuses it"
