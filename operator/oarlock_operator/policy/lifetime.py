"""How long a finished job is kept before it is deleted, as Kubernetes' own Job does it. Pure."""


def compute_deletion_time(*, finished: float | None, ttl_seconds: int | None) -> float | None:
    """Return when a job is to be deleted, in seconds since 1970; None: never.

    Args:
        finished: when it finished; None: it has not, or nobody knows when, and then it is kept.
        ttl_seconds: `runPolicy.ttlSecondsAfterFinished`.
    """
    return None if finished is None or ttl_seconds is None else finished + ttl_seconds
