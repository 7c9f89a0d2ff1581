"""Whether the pod template of a job is allowed: when it is accepted, and again before every creation of pods. Pure.

The administrator may have closed a list since, and somebody may have written a pod template into the status who may not.
"""

from collections.abc import Iterator

from oarlock_api.findings import Finding, describe_findings
from oarlock_api.v1alpha1.pod_template import PodTemplate
from oarlock_operator.manifests.pod_groups import find_group_scheduler
from oarlock_operator.policy.overlays import find_refused_overlay
from oarlock_operator.reconcile.job_view import JobView
from oarlock_operator.settings import Settings

_PATH = "spec.workers.podTemplate"


def find_refused_template(template: PodTemplate | None, *, settings: Settings) -> Iterator[Finding]:
    """Yield a finding for each thing in the pod template of a job that is not allowed."""
    yield from find_refused_overlay(template, path=_PATH, settings=settings)
    scheduler, named = find_group_scheduler(settings), template.scheduler_name if template else None
    # Neither would be honest: a gang that goes round the queue of all others, or a name that is ignored.
    if scheduler and named not in {None, scheduler.scheduler}:
        yield Finding(
            path=f"{_PATH}.schedulerName",
            rule=f"must be {scheduler.scheduler}, to which the administrator has handed over all gangs ({scheduler.title})",
            found=repr(named),
            remedy="leave it out",
        )


def explain_refused_overlay(job: JobView) -> str:
    """Return what of the accepted pod template is not allowed any more, and what to do about it; empty if all of it is."""
    template = job.run.workers.pod_template if job.run else None
    return describe_findings(find_refused_template(template, settings=job.settings))
