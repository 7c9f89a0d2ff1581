"""When avoiding nodes leaves a job without room, it stops avoiding them: bad nodes are better than none. Pure."""

from oarlock_operator.policy.causes import OperatorCause
from oarlock_operator.policy.exclusion import LIFTED_SECONDS, find_avoided
from oarlock_operator.policy.placing import finds_no_room
from oarlock_operator.reconcile.job_view import JobView
from oarlock_operator.reconcile.renewing import renew
from oarlock_operator.reconcile.steps import JobStep


def lift_exclusions(job: JobView) -> JobStep | None:
    """Begin a new attempt that may use all nodes again, if this one finds no room; None if it does."""
    due = next_lift(job)
    if due is None or job.now < due:
        return None
    return renew(job, OperatorCause.EXCLUSION_LIFTED, {"excluded_nodes": []})


def next_lift(job: JobView) -> float | None:
    """Return when the exclusions are lifted unless room is found, in seconds since 1970; None: they stay."""
    waiting = [pod.created for pod in job.pods.values() if finds_no_room(pod)]
    # Pods avoid for ever what counted when they were created.
    avoids = bool(waiting) and bool(find_avoided(job.status.excluded_nodes, at=min(waiting)))
    return max(waiting) + LIFTED_SECONDS if avoids else None
