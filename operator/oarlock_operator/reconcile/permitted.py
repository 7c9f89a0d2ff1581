"""Whether what a job was accepted with is still allowed: asked before every creation of pods. Pure.

The administrator may have closed a list since, and somebody may have written a pod template into the status who may not.
"""

from oarlock_api.findings import describe_findings
from oarlock_operator.policy.overlays import find_refused_overlay
from oarlock_operator.reconcile.job_view import JobView


def explain_refused_overlay(job: JobView) -> str:
    """Return what of the accepted pod template is not allowed any more, and what to do about it; empty if all of it is."""
    template = job.run.workers.pod_template if job.run else None
    return describe_findings(find_refused_overlay(template, path="spec.workers.podTemplate", settings=job.settings))
