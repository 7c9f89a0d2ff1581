"""What a scheduler that places gangs must find: a PodGroup for each attempt, and pods that name it. Pure.

Coscheduling and Volcano call their kinds alike and keep them in groups of their own; one operator hands over to one of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from oarlock_api.run import Run
from oarlock_operator import names
from oarlock_operator.manifests.metadata import Manifest, Owner, build_labels, build_owner_reference, without_empty
from oarlock_operator.manifests.resources import build_resources, format_cpu
from oarlock_operator.policy.amounts import parse_amount
from oarlock_operator.settings import Settings

KIND = "PodGroup"
PLURAL = "podgroups"


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupScheduler:
    """A scheduler to which gangs are handed over."""

    title: str
    """What people call it."""
    group: str
    version: str
    """Where its PodGroup lives."""
    scheduler: str
    """`schedulerName` of the pods."""
    has_queues: bool
    """Whether `spec.runPolicy.queue` names a queue of its own."""

    @property
    def reason(self) -> str:
        """Reason in the status of a job that waits for it."""
        return f"QueuedBy{self.title[0].upper()}{self.title[1:]}"

    @property
    def definition(self) -> str:
        """Name of the CustomResourceDefinition of its PodGroup."""
        return f"{PLURAL}.{self.group}"


_SCHEDULERS: Mapping[str, GroupScheduler] = {
    "coscheduling": GroupScheduler(
        title="coscheduling",
        group="scheduling.x-k8s.io",
        version="v1alpha1",
        scheduler="scheduler-plugins-scheduler",
        has_queues=False,
    ),
    "volcano": GroupScheduler(
        title="Volcano", group="scheduling.volcano.sh", version="v1beta1", scheduler="volcano", has_queues=True
    ),
}


def find_group_scheduler(settings: Settings) -> GroupScheduler | None:
    """Return to whom gangs are handed over; None: to nobody.

    Raises:
        ValueError: the setting names nobody that is known.
    """
    if not settings.pod_groups:
        return None
    if settings.pod_groups not in _SCHEDULERS:
        known = " or ".join(_SCHEDULERS)
        raise ValueError(f"OARLOCK_OPERATOR_POD_GROUPS must be empty, {known}, got {settings.pod_groups!r}")
    found = _SCHEDULERS[settings.pod_groups]
    return replace(found, scheduler=settings.pod_group_scheduler or found.scheduler)


def build_pod_group(
    scheduler: GroupScheduler, run: Run, *, owner: Owner, attempt: int, nodes: int, queue: str | None
) -> Manifest:
    """Return the PodGroup of an attempt: all its pods get nodes at once, or none does.

    Args:
        scheduler: who places them.
        run: the frozen run.
        owner: the job.
        attempt: number of the attempt.
        nodes: how many pods it has.
        queue: name of a queue, where the scheduler has some; None: its default.
    """
    template = run.workers.pod_template
    priority = template.priority_class_name if template else None
    # Coscheduling takes the priority from the pods.
    own = {"queue": queue, "priorityClassName": priority} if scheduler.has_queues else {}
    return {
        "apiVersion": f"{scheduler.group}/{scheduler.version}",
        "kind": KIND,
        "metadata": {
            "name": names.pod_group_name(owner.name, owner.uid, attempt=attempt),
            "namespace": owner.namespace,
            "labels": {
                **build_labels(owner, component="gang"),
                names.UID_LABEL: owner.uid,
                names.ATTEMPT_LABEL: str(attempt),
            },
            "annotations": {names.RUN_HASH_ANNOTATION: run.hash},
            "ownerReferences": [build_owner_reference(owner)],
        },
        "spec": {"minMember": nodes, "minResources": _sum_resources(run, nodes), **without_empty(own)},
    }


def build_group_labels(scheduler: GroupScheduler | None, group: str) -> dict[str, str]:
    """Return the labels by which a pod names its group."""
    return {names.COSCHEDULING_GROUP_LABEL: group} if scheduler and not scheduler.has_queues else {}


def build_group_annotations(scheduler: GroupScheduler | None, group: str) -> dict[str, str]:
    """Return the annotations by which a pod names its group."""
    return {names.VOLCANO_GROUP_ANNOTATION: group} if scheduler and scheduler.has_queues else {}


def build_scheduler_name(scheduler: GroupScheduler | None) -> dict[str, str]:
    """Return the field of a pod's spec that has it placed by the group's scheduler."""
    return {"schedulerName": scheduler.scheduler} if scheduler else {}


def _sum_resources(run: Run, nodes: int) -> dict[str, str]:
    """Return what all pods ask for together."""
    workers = run.workers
    each = build_resources(
        cpu=workers.cpu, memory=workers.memory, gpus=workers.gpus_per_node, gpu_resource=workers.gpu_resource
    )
    amounts = {name: parse_amount(quantity) * nodes for name, quantity in each["requests"].items()}
    return {name: format_cpu(amount) if name == "cpu" else str(round(amount)) for name, amount in amounts.items()}
