"""Just enough of what other schedulers of gangs bring, by the documents of their APIs: their PodGroups, and placing pods."""

from collections.abc import Iterable

from kube.scene import Object, Scene

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


def place_pods(scene: Scene, pods: Iterable[Object], *, node: str) -> None:
    """Give a node to those pods that have none."""
    for pod in pods:
        name = pod["metadata"]["name"]
        path = f"/api/v1/namespaces/{scene.namespace}/pods/{name}/binding"
        binding = {"metadata": {"name": name}, "target": {"kind": "Node", "name": node}}
        if not pod["spec"].get("nodeName"):
            scene.control_plane.api.create(path, binding)
