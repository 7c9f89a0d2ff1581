"""Where each kind lives on an API server, and what of its objects is worth keeping. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote

from oarlock_api.v1alpha1 import GROUP, VERSION
from oarlock_operator.cluster.port import Object, keep_version
from oarlock_operator.manifests import pod_groups
from oarlock_operator.manifests.pod_groups import GroupScheduler


def _without_managed_fields(raw: Object) -> Object:
    raw["metadata"].pop("managedFields", None)
    return raw


def _trim_pod(raw: Object) -> Object:
    """Leave out most of a pod's spec: nobody reads it, and the run in its environment alone may take 32 KiB."""
    spec = raw.get("spec") or {}
    kept = {"containers": _trim_containers(spec, "containers"), "nodeName": spec.get("nodeName", "")}
    if spec.get("initContainers"):
        kept["initContainers"] = [
            {**kept_of_it, "restartPolicy": each.get("restartPolicy", "")}
            for kept_of_it, each in zip(_trim_containers(spec, "initContainers"), spec["initContainers"], strict=True)
        ]
    return _without_managed_fields({**raw, "spec": kept})


def _trim_containers(spec: Object, which: str) -> list[Object]:
    return [
        {"name": each["name"], "ports": each.get("ports") or [], "resources": each.get("resources") or {}}
        for each in spec.get(which) or ()
    ]


def _trim_node(raw: Object) -> Object:
    """Leave out the images and addresses of a node, and the time of its last heartbeat: they are most of it."""
    spec, status = raw.get("spec") or {}, raw.get("status") or {}
    ready = [condition for condition in status.get("conditions") or [] if condition.get("type") == "Ready"]
    kept = {"conditions": ready, "allocatable": status.get("allocatable") or {}}
    taking = {name: spec[name] for name in ("taints", "unschedulable") if spec.get(name)}
    return _without_managed_fields({"kind": "Node", "metadata": raw["metadata"], "spec": taking, "status": kept})


JSON = "application/json"
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Resource:
    """One kind on the server."""

    kind: str
    group: str = ""
    """Empty: the core group."""
    version: str = "v1"
    plural: str
    is_namespaced: bool = True
    field_selector: str = ""
    """What of it is listed and watched at all."""
    trim: Callable[[Object], Object] = _without_managed_fields
    """What is left of an object that a list or a watch brings; may change what it is given."""
    accept: str = JSON
    """The form in which the server lists it."""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, *, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        place = ["namespaces", namespace] if self.is_namespaced and namespace else []
        parts = [*place, self.plural, *filter(None, (name, subresource))]
        return "/".join([root, *(quote(part, safe="") for part in parts)])


def leave_versions(resource: Resource) -> Resource:
    """Return a kind of whose objects the server lists the metadata, and nothing is left but who they are in which version."""
    return replace(resource, accept=_METADATA, trim=keep_version)


RESOURCES: dict[str, Resource] = {
    resource.kind: resource
    for resource in (
        Resource(kind="Dataset", group=GROUP, version=VERSION, plural="datasets"),
        Resource(kind="TrainingJob", group=GROUP, version=VERSION, plural="trainingjobs"),
        Resource(kind="Pod", plural="pods", trim=_trim_pod),
        Resource(kind="Service", plural="services"),
        Resource(kind="PersistentVolumeClaim", plural="persistentvolumeclaims"),
        Resource(kind="Node", plural="nodes", is_namespaced=False, trim=_trim_node),
        Resource(kind="Event", plural="events", field_selector="type=Warning"),
    )
}


def find_resources(scheduler: GroupScheduler | None) -> Mapping[str, Resource]:
    """Return where each kind lives, with the PodGroup of the scheduler to which gangs are handed over."""
    if scheduler is None:
        return RESOURCES
    group = Resource(kind=pod_groups.KIND, group=scheduler.group, version=scheduler.version, plural=pod_groups.PLURAL)
    return {**RESOURCES, group.kind: group}
