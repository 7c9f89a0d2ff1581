"""Status of both kinds: why, not only what. At most 16 kB; readers ignore what a newer operator wrote."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from oarlock_api.wire import OpenModel

MAX_STATUS_BYTES = 16 * 1024
MAX_FAILURES = 3
MAX_EXCLUDED_NODES = 3
MAX_LOSSES = 32


class JobPhase(StrEnum):
    """What a TrainingJob is doing."""

    INVALID = "Invalid"
    QUEUED = "Queued"
    WAITING_FOR_DATA = "WaitingForData"
    STARTING = "Starting"
    RENDEZVOUS = "Rendezvous"
    TRAINING = "Training"
    SUSPENDED = "Suspended"
    RESTARTING = "Restarting"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


FINISHED_JOB_PHASES = frozenset({JobPhase.SUCCEEDED, JobPhase.FAILED})


class DatasetPhase(StrEnum):
    """What a Dataset is doing."""

    INVALID = "Invalid"
    PENDING = "Pending"
    IMPORTING = "Importing"
    READY = "Ready"
    FAILED = "Failed"


class ConditionStatus(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(OpenModel):
    """One aspect of the state, as in every Kubernetes object."""

    type: str
    """Aspect: Valid, Ready, Admitted, Suspended, Complete, Failed, ProgressKnown, InUse."""
    status: ConditionStatus
    """Whether it holds."""
    reason: str
    """One word, for programs."""
    message: str = ""
    """What a person needs to know, with the remedy."""
    last_transition_time: str
    """When the status last changed, RFC 3339."""
    observed_generation: int | None = None
    """Generation of the spec that this speaks of."""


class Progress(OpenModel):
    """How far training is."""

    epoch: float = 0
    """Epochs done, with fraction."""
    epochs: float = 0
    """Epochs of the whole run."""
    step: int = 0
    """Optimizer steps done."""
    steps: int = 0
    """Optimizer steps of the whole run."""
    percent: int | None = None
    """Steps done, in percent. Absent: of a script that does not say how many there are."""
    eta_seconds: int | None = None
    """Seconds until the last step, by the latest throughput."""
    samples_per_second: float | None = None
    """Training samples per second, all processes together."""
    metrics: dict[str, float] = Field(default_factory=dict)
    """Latest values, by name."""
    non_finite: list[str] | None = None
    """Figures whose latest value is not finite, so that metrics has none. Absent: all are."""
    metric: str = ""
    """Latest value of the metric by which the best checkpoint is kept, for people: `accuracy 97.50 %`."""
    updated: str | None = None
    """When the trainer reported this, RFC 3339."""


class CheckpointStatus(OpenModel):
    """A checkpoint that is verified on the volume."""

    step: int
    """Step after which it was taken."""
    epoch: float
    """Epoch after which it was taken."""
    path: str
    """Folder on the claim."""
    bytes: int
    """Size."""
    verified: bool = True
    """Whether its checksums were verified after writing."""
    time: str
    """When it was complete, RFC 3339."""
    metric: float | None = None
    """Value of the metric that ranks checkpoints."""


class Checkpoints(OpenModel):
    """The checkpoints that matter."""

    claim: str = ""
    """PersistentVolumeClaim that holds them."""
    latest: CheckpointStatus | None = None
    """The one from which training would resume."""
    best: CheckpointStatus | None = None
    """The best so far."""
    export: str = ""
    """The exported model, as a path on the claim; once the job has succeeded."""


class FailureRecord(OpenModel):
    """The black box of one attempt."""

    attempt: int
    """Which attempt."""
    cause: str
    """What kind of failure."""
    message: str
    """What was found."""
    remedy: str = ""
    """What to do."""
    pod: str = ""
    """Pod that failed first."""
    pod_uid: str = ""
    """Its UID: a failure is counted once."""
    node: str = ""
    """Node on which it ran."""
    rank: int | None = None
    """Process that failed first."""
    step: int | None = None
    """Step at which it failed."""
    detail: str = ""
    """End of the traceback."""
    time: str = ""
    """When it was seen, RFC 3339."""


class GoodputLoss(OpenModel):
    """Time that a job took and that did not become training which lasts."""

    phase: str
    """What the job was doing: Queued, WaitingForData, Starting, Rendezvous, Loading, Compiling, Restarting, Suspended; LostSteps:
    training that had to be done again."""
    cause: str = ""
    """Why it had to: the cause of the restart. Empty on the way to the first step."""
    seconds: float = 0
    """Seconds that passed."""
    gpu_hours: float = 0
    """Hours of GPUs that were held meanwhile."""


class GpuHours(OpenModel):
    """Hours of GPUs that the pods of a job held, whether or not they were busy."""

    total: float = 0
    """Altogether."""
    training: float = 0
    """For training that is safe."""
    unsaved: float = 0
    """For training that no checkpoint holds yet."""
    lost: float = 0
    """For everything else."""


class Goodput(OpenModel):
    """Where the time of a job went: sums that only grow, counted with each write of the status."""

    percent: int = 0
    """Seconds of training, of all seconds in which the job was not suspended."""
    training_seconds: float = 0
    """Seconds of training that is safe: a checkpoint holds it, or the job has succeeded."""
    unsaved_seconds: float = 0
    """Seconds of training since the last checkpoint: they become safe, or lost."""
    lost_seconds: float = 0
    """Seconds of everything else."""
    gpu_hours: GpuHours = Field(default_factory=GpuHours)
    """The same in hours of GPUs."""
    losses: Annotated[list[GoodputLoss], Field(max_length=MAX_LOSSES)] = Field(default_factory=list)
    """What was lost, by phase and cause."""
    cause: str = ""
    """Cause of the attempt that runs; empty for the first one."""
    gpus: int = 0
    """GPUs that the job's pods hold."""
    unsaved_since: str | None = None
    """When the training began that no checkpoint holds yet, RFC 3339."""
    counted_until: str | None = None
    """Up to when all this is counted, RFC 3339."""


class Gang(OpenModel):
    """How many nodes the attempt of an elastic job has, since its number last changed."""

    nodes: int
    """Pods of the attempt: all of them run, or none trains."""
    wanted: int
    """spec.workers.nodes at that time."""
    why: str = ""
    """Why the number changed."""


class ExcludedNode(OpenModel):
    """A node that new attempts avoid."""

    node: str
    """Its name."""
    reason: str
    """What happened there, with the number of times."""
    since: str
    """Since when, RFC 3339."""


class QueueStatus(OpenModel):
    """Where a job stands that waits for its place."""

    position: int | None = None
    """Place among the jobs that wait for the same resource, counted from 1."""
    expected_start: str | None = None
    """About when it starts, by the ETAs of the jobs that run, RFC 3339; absent: nobody knows."""
    since: str
    """Since when it waits, RFC 3339."""
    preempted_by: str = ""
    """The job that took its place, as NAMESPACE/NAME; empty: none did."""


class ScriptStatus(OpenModel):
    """What is known of the program of a script beyond its progress."""

    level: str = ""
    """How much it tells of itself. L0: nothing; it is watched from outside. L1: its progress, by the progress file. L2: it runs
    in a session of Oarlock's, with checkpoints and exact resume."""
    cpu_cores: float | None = None
    """Cores that its processes on node 0 kept busy lately."""
    last_output: str | None = None
    """When it last printed something, RFC 3339."""


class TrainingJobStatus(OpenModel):
    """State of a TrainingJob."""

    observed_generation: int | None = None
    """Generation of the spec that this speaks of."""
    phase: JobPhase | None = None
    """What the job is doing."""
    reason: str = ""
    """Why, in one word."""
    message: str = ""
    """Why, with the culprit and the remedy."""
    conditions: Annotated[list[Condition], Field(max_length=16)] = Field(default_factory=list)
    """Aspects of the state."""
    run: Annotated[dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})] | None = (
        None
    )
    """Everything that the job resolved to when it was accepted; written once."""
    attempt: int = 0
    """Attempt that is running, counted from 0."""
    nodes: int = 0
    """Pods of the attempt that are running."""
    gang: Gang | None = None
    """How many nodes the attempt has, once that is another number than the run was accepted with."""
    excluded_nodes: Annotated[list[ExcludedNode], Field(max_length=MAX_EXCLUDED_NODES)] = Field(default_factory=list)
    """Nodes that this attempt avoids, since attempts failed there again and again."""
    queue: QueueStatus | None = None
    """Where the job stands in the queue, while it waits."""
    selector: str = ""
    """Label selector of the job's pods."""
    progress: Progress | None = None
    """How far training is."""
    script: ScriptStatus | None = None
    """What is known of the program, where the job has one."""
    checkpoint: Checkpoints | None = None
    """The checkpoints that matter."""
    restarts: dict[str, int] = Field(default_factory=dict)
    """New attempts, by cause."""
    restart_count: int = 0
    """New attempts, altogether."""
    counted_restarts: int = 0
    """New attempts that count against backoffLimit."""
    failures: Annotated[list[FailureRecord], Field(max_length=MAX_FAILURES)] = Field(default_factory=list)
    """The last failures, the newest last."""
    phases: dict[str, float] = Field(default_factory=dict)
    """Seconds spent in each phase so far, without the one that lasts."""
    phase_since: str | None = None
    """When the phase began, RFC 3339."""
    goodput: Goodput | None = None
    """Where the time went, and the hours of GPUs."""
    retry_after: str | None = None
    """When the next attempt starts, RFC 3339."""
    resume_floor: int | None = None
    """Step of the checkpoint that the last restart resumed from: restarts without progress stop the loop."""
    start_time: str | None = None
    """When the first pod was created, RFC 3339."""
    completion_time: str | None = None
    """When the job finished, RFC 3339."""


class DatasetProgress(OpenModel):
    """How far an import is."""

    samples: int = 0
    """Samples written."""
    total: int = 0
    """Samples found."""
    percent: int = 0
    """Samples written, in percent."""
    eta_seconds: int | None = None
    """Seconds until it is done."""


class DatasetStatus(OpenModel):
    """State of a Dataset."""

    observed_generation: int | None = None
    """Generation of the spec that this speaks of."""
    phase: DatasetPhase | None = None
    """What the Dataset is doing."""
    reason: str = ""
    """Why, in one word."""
    message: str = ""
    """Why, with the culprit and the remedy."""
    conditions: Annotated[list[Condition], Field(max_length=16)] = Field(default_factory=list)
    """Aspects of the state."""
    attempt: int = 0
    """Attempt of the import, counted from 0."""
    progress: DatasetProgress | None = None
    """How far the import is."""
    version: str = ""
    """Hash of the content that is Ready."""
    claim: str = ""
    """PersistentVolumeClaim that holds it."""
    path: str = ""
    """Folder of the version on the claim."""
    bytes: int = 0
    """Size."""
    samples: int = 0
    """Samples, all splits together."""
    counts: dict[str, int] = Field(default_factory=dict)
    """Samples per split."""
    classes: list[str] = Field(default_factory=list)
    """Class names, the first 50."""
    class_count: int = 0
    """Number of classes."""
    class_counts: dict[str, list[int]] = Field(default_factory=dict)
    """Samples per split and class, in the order of classes; of masks pixels, of boxes boxes; left out where there are many."""
    sample_shape: list[int] = Field(default_factory=list)
    """Height, width, channels; of texts, their length."""
    vocabulary_size: int | None = None
    """Of texts: different numbers that there may be."""
    rejected: int = 0
    """Files that could not be used."""
    first_rejects: list[str] = Field(default_factory=list)
    """The first of them, with reasons; `dataset.json` names them all."""
    warnings: list[str] = Field(default_factory=list)
    """What else the import found odd and used or left out: the last few sentences of its log that say so."""
    failures: Annotated[list[FailureRecord], Field(max_length=MAX_FAILURES)] = Field(default_factory=list)
    """The last failed imports, the newest last."""
    spec_hash: str = ""
    """Hash of the spec that was imported."""
    restarts: dict[str, int] = Field(default_factory=dict)
    """New attempts of the import, by cause."""
    holders: list[str] = Field(default_factory=list)
    """Unfinished jobs that use the Dataset."""
    retry_after: str | None = None
    """When the next attempt starts, RFC 3339."""
    start_time: str | None = None
    """When the import began, RFC 3339."""
    completion_time: str | None = None
    """When it ended, RFC 3339."""
