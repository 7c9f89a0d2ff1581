"""How long a pod may take to save and end: what the user allows, and longer where saving has been seen to take longer. Pure."""

import math

from oarlock_api.v1alpha1.training_job import RunPolicy

SAVES = 3
"""Times the last save: the volume is busiest when all pods of a node save at once."""
MAX_LENGTHENED_SECONDS = 3600
"""What trainers say is not trusted beyond this; a user may allow more."""


def lengthen_grace(policy: RunPolicy, *, save_seconds: float | None) -> RunPolicy:
    """Return the policy with the grace period for new pods.

    Args:
        policy: what the user asks for.
        save_seconds: how long the last checkpoint took until it was safe; None: none is known.
    """
    if save_seconds is None or not math.isfinite(save_seconds):
        return policy
    needed = min(math.ceil(SAVES * save_seconds), MAX_LENGTHENED_SECONDS)
    return policy.model_copy(update={"grace_period_seconds": max(policy.grace_period_seconds, needed)})
