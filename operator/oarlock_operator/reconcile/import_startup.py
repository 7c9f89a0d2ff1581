"""The pod of an import that has a node and does not run: until when that may last, and what is said when it is over. Pure."""

from oarlock_api.v1alpha1.status import FailureRecord
from oarlock_operator.policy.bounds import fit_failure
from oarlock_operator.policy.deadlines import IMPORT_STARTUP_SECONDS, compute_startup_clock
from oarlock_operator.policy.times import format_time
from oarlock_operator.policy.waiting import explain_wait
from oarlock_operator.reconcile.dataset_view import DatasetView
from oarlock_operator.reconcile.surroundings import surround_import


def import_startup_due(data: DatasetView) -> float | None:
    """Return until when the pod must run, in seconds since 1970; None while it has no node, and once it runs."""
    pods = (data.pod,) if data.pod and data.pod.phase == "Pending" else ()
    return compute_startup_clock(pods, wanted=1, allowed=IMPORT_STARTUP_SECONDS).due


def find_startup_failure(data: DatasetView) -> FailureRecord | None:
    """Return the failure of an import whose pod does not run in time; None while it may still."""
    due, pod = import_startup_due(data), data.pod
    wait = explain_wait((pod,), surround_import(data)) if pod else None
    if due is None or data.now < due or pod is None or wait is None:
        return None
    return fit_failure(
        FailureRecord(
            attempt=data.status.attempt,
            cause=wait.cause,
            message=f"the import did not run within {IMPORT_STARTUP_SECONDS:.0f} s on its node: {wait.message}",
            remedy="see to it. podTemplate and resources may change at any time and hold for the next attempt; a Dataset that"
            " Failed begins anew when it is deleted and applied again",
            pod=pod.name,
            pod_uid=pod.uid,
            node=pod.node,
            time=format_time(data.now),
        )
    )
