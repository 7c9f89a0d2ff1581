"""What to make of the server's refusal to create a child: ask again, or give up. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from oarlock_operator.policy.bounds import clip
from oarlock_operator.reconcile.observed import Refusal

RETRY_SECONDS = 30.0
_INVALID = 422
_MAX_SAID = 700


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """A refusal that stands."""

    message: str
    retry_at: float
    is_final: bool
    """Whether the server would say the same again: the manifest is invalid."""


def find_refusal(
    children: Iterable[Mapping[str, Any]], refusals: Mapping[str, Refusal], *, now: float
) -> Refused | None:
    """Return the refusal of one of `children` that is final or too recent to ask again; None: they may be created."""
    for child in children:
        kind, name = child["kind"], child["metadata"]["name"]
        refusal = refusals.get(name)
        if refusal is None:
            continue
        is_final = refusal.status == _INVALID
        if is_final or now < refusal.time + RETRY_SECONDS:
            return Refused(
                message=_describe(kind, name, refusal, is_final=is_final),
                retry_at=refusal.time + RETRY_SECONDS,
                is_final=is_final,
            )
    return None


def _describe(kind: str, name: str, refusal: Refusal, *, is_final: bool) -> str:
    remedy = (
        "correct podTemplate, resources or the volume"
        if is_final
        else f"it is asked again every {RETRY_SECONDS:.0f} s; raise the quota, or see to the policy that refuses it"
    )
    return f"the API server refuses {kind} {name}: {clip(refusal.message, _MAX_SAID)}. Remedy: {remedy}"
