"""What planning is given: small frozen values made from the cluster's objects, times as seconds since 1970."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from oarlock_api.contract import TerminationRecord, WorkerStatus
from oarlock_api.v1alpha1.status import DatasetStatus, TrainingJobStatus
from oarlock_operator.queueing.verdicts import Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class ObservedObject:
    """Metadata that every custom object has."""

    name: str
    namespace: str
    uid: str
    generation: int
    resource_version: str
    created: float
    deleting: bool = False
    finalizers: tuple[str, ...] = ()
    spec: Mapping[str, Any] = field(default_factory=dict)
    """As it is on the server: not validated."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ObservedContainer:
    """A container beside the trainer's that keeps it from starting. Ours have none: a webhook of the cluster added it."""

    name: str
    image: str = ""
    is_init: bool = False
    """Whether the trainer's container is only started after this one."""
    stays: bool = False
    """Whether it is to run on beside the trainer once it has started: an init container that is always restarted."""
    running_since: float | None = None
    """None: it does not run."""
    exit_code: int | None = None
    """Of its last run; None: it has not ended yet."""
    ended_reason: str = ""
    ended_message: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ObservedPod:
    """One pod of a job or of an import, of any attempt."""

    name: str
    uid: str
    owner_uid: str
    """UID of the controlling owner; empty if it has none."""
    attempt: int
    rank: int
    """Node rank: 0 for imports."""
    run_hash: str
    phase: str
    """Pending, Running, Succeeded, Failed, Unknown: by the trainer's container, whatever runs beside it."""
    created: float
    role: str = ""
    """What the pod is for, by its label."""
    deleting: bool = False
    delete_by: float | None = None
    """When the grace period of a deletion ends."""
    scheduled: bool = False
    scheduled_at: float | None = None
    """When a node was found for it."""
    unschedulable: str = ""
    """The scheduler's message."""
    is_gated: bool = False
    """Whether a scheduling gate keeps the scheduler from it."""
    pod_group: str = ""
    """The PodGroup with whose other pods it is placed, if a scheduler does that."""
    node: str = ""
    ip: str = ""
    started: float | None = None
    """When the container started."""
    waiting_reason: str = ""
    """Why the container waits, or the one that holds it up: ImagePullBackOff, CreateContainerConfigError, …"""
    waiting_message: str = ""
    holdup: ObservedContainer | None = None
    """The container beside the trainer's that holds it up, or kept it from ever starting."""
    lingers: bool = False
    """Whether other containers still run though the trainer's has ended: the pod keeps its node until it is deleted."""
    warning: str = ""
    """The latest Event about it that tells something, while it is not running: its reason, a colon, its message."""
    pod_reason: str = ""
    """The pod's own reason: Evicted, NodeLost, Preempting, …"""
    pod_message: str = ""
    disruption: str = ""
    """Reason of the condition DisruptionTarget."""
    exit_code: int | None = None
    signal: int | None = None
    container_reason: str = ""
    """Why the container ended: OOMKilled, Error, …"""
    finished: float | None = None
    termination: TerminationRecord | None = None
    """The validated termination record; None: there is none, or it is not to be trusted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ObservedClaim:
    """A PersistentVolumeClaim that is referred to."""

    name: str
    uid: str
    phase: str
    """Pending, Bound, Lost."""
    access_modes: tuple[str, ...]
    labels: Mapping[str, str]
    owner_uid: str = ""
    storage_class: str = ""
    """Its StorageClass; empty: none, or the cluster's default is not filled in yet."""
    created: float = 0.0
    deleting: bool = False
    message: str = ""
    """The latest warning about it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Taint:
    """What keeps pods from a node unless they tolerate it."""

    key: str
    value: str = ""
    effect: str = ""
    """NoSchedule, PreferNoSchedule, NoExecute."""

    def __str__(self) -> str:
        return f"{self.key}={self.value}:{self.effect}" if self.value else f"{self.key}:{self.effect}"


@dataclass(frozen=True, kw_only=True, slots=True)
class ObservedNode:
    """A node: what it has, whom it takes."""

    name: str
    is_ready: bool
    """Whether the node controller hears of it."""
    is_cordoned: bool = False
    """Whether it takes no new pods."""
    taints: tuple[Taint, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    allocatable: Mapping[str, float] = field(default_factory=dict)
    """What all its pods together may ask for, by resource."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Room:
    """A node, and what is left on it."""

    node: ObservedNode
    free: Mapping[str, float] | None = None
    """What of its allocatable resources no pod has asked for; None: not known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ObservedService:
    """The headless Service of a job."""

    name: str
    uid: str
    owner_uid: str
    deleting: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ObservedPodGroup:
    """The PodGroup of an attempt, for a scheduler that places gangs."""

    name: str
    uid: str
    owner_uid: str
    attempt: int
    deleting: bool = False
    phase: str = ""
    """As the scheduler or its controller calls it; empty: neither has looked at it yet."""
    message: str = ""
    """Why it is not placed, in the scheduler's words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ObservedDataset:
    """A Dataset as a job sees it."""

    object: ObservedObject
    status: DatasetStatus


@dataclass(frozen=True, kw_only=True, slots=True)
class ObservedEarlierJob:
    """A job from whose weights another one begins."""

    object: ObservedObject
    status: TrainingJobStatus


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerReport:
    """The last answer of rank 0's agent."""

    status: WorkerStatus | None
    """None: it never answered for this attempt."""
    answered: float | None = None
    """When it last answered."""
    failing_since: float | None = None
    """Since when it does not answer; None: it does."""
    skew: float | None = None
    """Seconds by which the clock of its node is ahead, as it told the time; None: it never did. The times in `status` are put right."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """The server's word on a child that it refused to create; forgotten once a child of that name exists."""

    message: str
    time: float
    """When it was refused last; planning asks for the child again some time later."""
    status: int = 403
    """HTTP status: 403 can change by itself (quota, webhook), 422 cannot (the manifest is invalid)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ObservedJob:
    """Everything that planning a TrainingJob depends on, besides the time and the settings."""

    object: ObservedObject
    status: TrainingJobStatus
    pods: tuple[ObservedPod, ...] = ()
    """Pods of all attempts that belong to this UID, and those of other owners that hold a name of ours."""
    service: ObservedService | None = None
    pod_groups: tuple[ObservedPodGroup, ...] | None = None
    """PodGroups of all attempts, and those of other owners that hold a name of ours; None: not known, or there are none here."""
    dataset: ObservedDataset | None = None
    earlier: ObservedEarlierJob | None = None
    """The job that `model.initFrom` names, until this one is accepted."""
    claims: Mapping[str, ObservedClaim] = field(default_factory=dict)
    """Claims by name: the data's, the checkpoints' and those that the pod template mounts."""
    report: WorkerReport | None = None
    peers: Mapping[int, WorkerReport] = field(default_factory=dict)
    """The last answers of the other agents by node rank, while they are asked."""
    last_words: TerminationRecord | None = None
    """The termination record of the latest rank 0 whose pod is gone; None if nobody heard it."""
    lost_nodes: frozenset[str] = frozenset()
    """Nodes that are not ready or gone."""
    usable_nodes: int | None = None
    """How many nodes of the cluster take pods; None: nodes are not watched."""
    rooms: tuple[Room, ...] = ()
    """The cluster's nodes, while a pod finds none; empty: not known, or not needed."""
    refusals: Mapping[str, Refusal] = field(default_factory=dict)
    """What the server refused to create, by the child's name."""
    verdict: Verdict | None = None
    """What the queue has decided of it; None: nothing yet."""
    others_wait: bool = False
    """Whether jobs wait in the queue that would fit if there were room."""
    confirmed: bool = False
    """Whether what the last plan asked to confirm was just read past the caches, and the job was as that plan believed.

    A job with another resource version may have another attempt, whose pods nobody asked for: then it is not confirmed.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class ObservedImport:
    """Everything that planning a Dataset depends on, besides the time and the settings."""

    object: ObservedObject
    status: DatasetStatus
    pods: tuple[ObservedPod, ...] = ()
    claims: Mapping[str, ObservedClaim] = field(default_factory=dict)
    report: WorkerReport | None = None
    holders: tuple[str, ...] = ()
    """Names of unfinished jobs that refer to the Dataset."""
    lost_nodes: frozenset[str] = frozenset()
    rooms: tuple[Room, ...] = ()
    refusals: Mapping[str, Refusal] = field(default_factory=dict)
    confirmed: bool = False
