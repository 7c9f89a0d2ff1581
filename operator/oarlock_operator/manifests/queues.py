"""What Kueue must find on pods that it queues: its group of plain pods, all of which it starts together. Pure."""

from oarlock_operator import names
from oarlock_operator.manifests.metadata import Owner


def build_queue_labels(queue: str | None, *, owner: Owner, attempt: int, nodes: int) -> dict[str, str]:
    """Return the labels that hand a pod to a queue of Kueue; none without a queue. A pod alone needs no group."""
    if not queue:
        return {}
    group = {names.KUEUE_POD_GROUP_LABEL: names.pod_group_name(owner.name, owner.uid, attempt=attempt)}
    return {names.KUEUE_QUEUE_LABEL: queue, **(group if nodes > 1 else {})}


def build_queue_annotations(queue: str | None, *, nodes: int) -> dict[str, str]:
    return {names.KUEUE_TOTAL_COUNT_ANNOTATION: str(nodes)} if queue and nodes > 1 else {}
