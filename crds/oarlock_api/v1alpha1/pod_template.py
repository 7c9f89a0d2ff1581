"""What a user may add to the pods: a typed allow-list, because an open pod template would be a way around every guard.

Merging: maps are merged key by key, and keys under `oarlock.dev/` and `app.kubernetes.io/` are refused; lists are appended to
what Oarlock sets; `image` replaces the default image. Variables named `OARLOCK_*` are refused. There is no field for privileges,
host paths, host namespaces, capabilities, other containers or commands; what an administrator must allow first is said there.
"""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from oarlock_api.v1alpha1.values import LabelValue, ObjectName, Quantity, ShortText
from oarlock_api.wire import WireModel

OpenObject = Annotated[dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})]
"""A Kubernetes object passed on as it is; the API server validates it when the pod is created."""


class Operator(StrEnum):
    """How a toleration matches a taint."""

    EXISTS = "Exists"
    EQUAL = "Equal"


class TaintEffect(StrEnum):
    """What a taint does to a pod that does not tolerate it."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class PullPolicy(StrEnum):
    """When the kubelet pulls the image."""

    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


class Toleration(WireModel):
    """Lets the pods run on nodes with a taint."""

    key: ShortText | None = None
    """Taint key; absent with operator Exists: every taint."""
    operator: Operator = Operator.EQUAL
    """Equal compares the value, Exists does not."""
    value: ShortText | None = None
    """Taint value."""
    effect: TaintEffect | None = None
    """Taint effect; absent: all effects."""
    toleration_seconds: Annotated[int, Field(ge=0)] | None = None
    """Seconds for which NoExecute is tolerated; absent: for ever."""


class EnvironmentVariable(WireModel):
    """A variable of the training processes."""

    name: Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    """Name. Names that begin with OARLOCK_ belong to Oarlock."""
    value: Annotated[str, Field(max_length=4096)] = ""
    """Value, passed on as it is written: `$(NAME)` is not expanded."""


class EmptyDirectory(WireModel):
    """A folder that lives as long as the pod."""

    size_limit: Quantity | None = None
    """Size at which the pod is evicted; absent: none."""


class ExtraVolume(WireModel):
    """A further volume in the training pods: exactly one of claim, configMap, secret, emptyDir."""

    name: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
    """Name of the volume within the pod, unlike those of the others; names that begin with oarlock- are taken."""
    mount_path: Annotated[str, Field(min_length=2, max_length=1024, pattern=r"^(/\.?[^/.:][^/:]*)+$")]
    """Where it appears: not under /oarlock, /dev, /tmp, /proc, /sys, /run or /var/run, and at a place of its own."""
    read_only: bool = True
    """Whether the pods may only read it."""
    claim: ObjectName | None = None
    """An existing PersistentVolumeClaim."""
    config_map: ObjectName | None = None
    """A ConfigMap."""
    secret: ObjectName | None = None
    """A Secret."""
    empty_dir: EmptyDirectory | None = None
    """An empty folder."""


class PodTemplate(WireModel):
    """What is added to the pods that Oarlock creates."""

    image: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    """Container image; absent: the trainer image that the administrator configured."""
    image_pull_policy: PullPolicy | None = None
    """When the image is pulled; absent: the cluster's rule."""
    image_pull_secrets: Annotated[list[ObjectName], Field(max_length=8)] | None = None
    """Names of Secrets with registry credentials."""
    labels: Annotated[dict[str, LabelValue], Field(max_length=32)] | None = None
    """Labels to add; none under oarlock.dev/ or app.kubernetes.io/."""
    annotations: Annotated[dict[str, ShortText], Field(max_length=32)] | None = None
    """Annotations to add. With a prefix (prometheus.io/scrape): only those that the administrator allows."""
    node_selector: Annotated[dict[str, LabelValue], Field(max_length=32)] | None = None
    """Labels that a node must have."""
    tolerations: Annotated[list[Toleration], Field(max_length=32)] | None = None
    """Taints that the pods tolerate."""
    affinity: OpenObject | None = None
    """Node and pod affinity, as in a pod."""
    topology_spread_constraints: Annotated[list[OpenObject], Field(max_length=8)] | None = None
    """How the pods spread over the cluster, as in a pod."""
    priority_class_name: ObjectName | None = None
    """Priority class of the pods. system-*: only if the administrator allows it by name."""
    runtime_class_name: ObjectName | None = None
    """Container runtime class: one that the administrator allows."""
    service_account_name: ObjectName | None = None
    """Service account of the pods: one that the administrator allows. Its token is not mounted. Absent: the namespace's default."""
    scheduler_name: ObjectName | None = None
    """Scheduler to use instead of the cluster's default."""
    env: Annotated[list[EnvironmentVariable], Field(max_length=64)] | None = None
    """Variables to add."""
    volumes: Annotated[list[ExtraVolume], Field(max_length=16)] | None = None
    """Volumes to add."""


class Resources(WireModel):
    """What one pod asks for and is limited to."""

    cpu: Annotated[float, Field(gt=0, le=1024)] | None = None
    """CPU cores. Absent: one a process on CPU, four a GPU."""
    memory: Quantity | None = None
    """Memory. Absent: 2Gi a process on CPU, 16Gi a GPU."""
