"""The deadline that depends on what a job runs: how long a rank may be silent. Pure."""

from oarlock_api.v1alpha1.training_job import RunPolicy

PROGRESS_DEADLINE_SECONDS = 600
"""Of a job with a model that says nothing."""


def choose_progress_deadline(policy: RunPolicy, *, is_script: bool) -> int | None:
    """Return the seconds after which a silent rank is hung; None: never, since a program's steps may take any time."""
    asked = policy.progress_deadline_seconds
    return asked if asked is not None or is_script else PROGRESS_DEADLINE_SECONDS
