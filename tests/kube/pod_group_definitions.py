"""Just enough of the kinds of PodGroups that other schedulers bring, by the documents of their APIs."""

from kube.scene import Object

from oarlock_operator.manifests.pod_groups import PLURAL, GroupScheduler, find_group_scheduler
from oarlock_operator.settings import Settings

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_SPEC: Object = {
    "type": "object",
    "properties": {
        "minMember": {"type": "integer"},
        "minResources": {"type": "object", "additionalProperties": {"x-kubernetes-int-or-string": True}},
        "queue": {"type": "string"},
        "priorityClassName": {"type": "string"},
    },
}
_STATUS: Object = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def find_scheduler(name: str) -> GroupScheduler:
    scheduler = find_group_scheduler(Settings(pod_groups=name))
    assert scheduler
    return scheduler


def build_definition(scheduler: GroupScheduler) -> Object:
    """Return the CustomResourceDefinition of a scheduler's PodGroup, whose status is not a resource of its own."""
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": _SPEC, "status": _STATUS}}}
    return {
        "metadata": {"name": scheduler.definition},
        "spec": {
            "group": scheduler.group,
            "scope": "Namespaced",
            "names": {"plural": PLURAL, "kind": "PodGroup", "listKind": "PodGroupList"},
            "versions": [{"name": scheduler.version, "served": True, "storage": True, "schema": schema}],
        },
    }


def groups_path(scheduler: GroupScheduler, namespace: str, name: str = "") -> str:
    root = f"/apis/{scheduler.group}/{scheduler.version}/namespaces/{namespace}/{PLURAL}"
    return f"{root}/{name}" if name else root
