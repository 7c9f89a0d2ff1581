"""Whether the pod template of a job is allowed: when it is accepted, and again before every creation of pods. Pure.

The administrator may have closed a list since, and somebody may have written a pod template into the status who may not.
"""

from collections.abc import Iterator
from dataclasses import replace

from oarlock_api.findings import Finding, describe_findings
from oarlock_api.v1alpha1.pod_template import ExtraVolume, PodTemplate
from oarlock_api.v1alpha1.training_job import Code, Script, TrainingJobSpec
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


def find_refused_parts(spec: TrainingJobSpec, *, settings: Settings) -> Iterator[Finding]:
    """Yield a finding for each thing in a job that gets into its pods and is not allowed."""
    yield from find_refused_template(spec.workers.pod_template, settings=settings)
    yield from _find_refused_script(spec.script, settings=settings)
    yield from _find_refused_code(spec.code, settings=settings)


def _find_refused_script(script: Script | None, *, settings: Settings) -> Iterator[Finding]:
    """The image of a script is one like that of a pod template."""
    if script is not None and script.image is not None:
        yield from find_refused_overlay(PodTemplate(image=script.image), path="spec.script", settings=settings)


def _find_refused_code(code: Code | None, *, settings: Settings) -> Iterator[Finding]:
    """The ConfigMap of the code is a volume like those of a pod template."""
    if code is not None:
        volume = ExtraVolume(name="code", mount_path="/code", config_map=code.config_map)
        for finding in find_refused_overlay(PodTemplate(volumes=[volume]), path="spec.code", settings=settings):
            yield replace(finding, path="spec.code.configMap")


def explain_refused_overlay(job: JobView) -> str:
    """Return what of the accepted pod template is not allowed any more, and what to do about it; empty if all of it is."""
    if job.run is None:
        return ""
    run, settings = job.run, job.settings
    own_image = run.script is not None and run.script.agent_image is not None
    script = Script(command=["-"], image=run.workers.image) if own_image else None
    findings = (
        *find_refused_template(run.workers.pod_template, settings=settings),
        *_find_refused_script(script, settings=settings),
        *_find_refused_code(run.code, settings=settings),
    )
    return describe_findings(findings)
