"""Times in a status: RFC 3339 with milliseconds, in UTC. Pure."""

from datetime import UTC, datetime

LATEST_TIME = 253_402_300_799.0
"""The end of the year 9999, the last that RFC 3339 can write, in seconds since 1970."""


def format_time(seconds: float) -> str:
    """Return seconds since 1970 as RFC 3339."""
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str | None) -> float | None:
    """Return seconds since 1970; None if there is no time, or none that can be read: a status can be edited by hand."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def earliest(*times: float | None) -> float | None:
    """Return the earliest of those times that are given."""
    return min((time for time in times if time is not None), default=None)
