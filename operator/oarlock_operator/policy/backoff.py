"""How long to wait before the next attempt: twice as long as before, until an attempt has lasted. Pure."""

MAX_DELAY_SECONDS = 600.0
LASTING_SECONDS = 600.0
"""An attempt that lasts as long as this is no part of a crash loop."""


def is_waiting(retry_at: float | None, *, now: float) -> bool:
    """Say whether a back-off goes on; one that ends later than any would was written under a clock that was wrong."""
    return retry_at is not None and now < retry_at <= now + MAX_DELAY_SECONDS


def compute_retry_delay(*, base: float, failed_before: float | None, retried_at: float | None, now: float) -> float:
    """Return the seconds to wait.

    Args:
        base: the first delay.
        failed_before: when the failure before this one was seen.
        retried_at: when the attempt after that failure could start.
        now: seconds since 1970.
    """
    if failed_before is None or retried_at is None or now - retried_at >= LASTING_SECONDS:
        return min(base, MAX_DELAY_SECONDS)
    return min(max(base, 2 * (retried_at - failed_before)), MAX_DELAY_SECONDS)
