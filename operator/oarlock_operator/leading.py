"""Which of several operators writes: what a Lease says, and since when, by our own clock. Pure: no I/O, no clock.

Everybody watches, and one of them writes. Times that another machine wrote are never compared with ours: a Lease counts as
renewed from when we saw it change, and its holder counts its own time from before it asked for the renewal. So no two of them
lead at a time as long as their clocks run at the same pace; and should they, names, UIDs and resource versions keep what both
do harmless.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

LEASE_SECONDS = 8
"""Seconds after which a Lease that nobody renewed is anybody's."""
RENEW_SECONDS = 2.0
"""Seconds between two renewals, and between two looks of those who wait."""
WRITE_SECONDS = 6.0
"""Seconds for which a renewal lets its holder write: fewer than others wait, so that a slow clock does not make two leaders."""
_MOST_TRUSTED_SECONDS = 600
"""A Lease that claims to last longer was written by no operator."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """What matters of a Lease on the server; its times are words to us, which change or do not."""

    version: str
    """Resource version: a change is refused if it was made from another one."""
    holder: str = ""
    """Empty: it was given back."""
    seconds: int = LEASE_SECONDS
    """How long it lasts without a renewal."""
    acquired: str = ""
    renewed: str = ""
    transitions: int = 0
    """How often it changed hands."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sighting:
    """A Lease, and since when we see it as it is, in seconds of our own monotonic clock."""

    lease: Lease
    since: float

    @property
    def expires(self) -> float:
        """When it is anybody's, if it does not change until then."""
        return self.since + min(max(1, self.lease.seconds), _MOST_TRUSTED_SECONDS)


class Move(StrEnum):
    """What to do about the Lease now."""

    CREATE = "create"
    TAKE = "take"
    RENEW = "renew"
    WAIT = "wait"


def look(before: Sighting | None, lease: Lease, *, now: float) -> Sighting:
    """Return the sighting after a look: a Lease that was not renewed is as old as when it was seen first."""
    if before and (before.lease.holder, before.lease.renewed) == (lease.holder, lease.renewed):
        return replace(before, lease=lease)
    return Sighting(lease=lease, since=now)


def decide_move(sighting: Sighting | None, *, me: str, now: float) -> Move:
    """Decide what to do about a Lease that was just looked at; None: there is none."""
    if sighting is None:
        return Move.CREATE
    if sighting.lease.holder == me:
        return Move.RENEW
    return Move.TAKE if not sighting.lease.holder or now >= sighting.expires else Move.WAIT


def build_lease(before: Lease | None, *, me: str, written: str, seconds: int = LEASE_SECONDS) -> Lease:
    """Return the Lease with which `me` takes or renews it; `written` is the time, for people."""
    if before and before.holder == me:
        return replace(before, renewed=written, seconds=seconds)
    return Lease(
        version=before.version if before else "",
        holder=me,
        seconds=seconds,
        acquired=written,
        renewed=written,
        transitions=before.transitions + 1 if before else 0,
    )


def release_lease(before: Lease, *, written: str) -> Lease:
    """Return the Lease as it is given back: the next one need not wait."""
    return replace(before, holder="", seconds=1, renewed=written)


def next_look(sighting: Sighting | None, *, me: str, now: float) -> float:
    """Return the seconds until the next look: soon enough to renew, and no later than the Lease is anybody's."""
    if sighting is None or sighting.lease.holder == me:
        return RENEW_SECONDS
    return max(0.05, min(RENEW_SECONDS, sighting.expires - now))
