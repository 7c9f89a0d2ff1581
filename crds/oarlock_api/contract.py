"""The whole agreement between the operator and the pods it starts: variables, ports, paths, exit codes, reports.

Standard library only, because the agent that speaks it must start in any image, and no I/O. Readers ignore unknown fields and
understand the version before; `oarlock_operator` validates what it receives, since whatever a trainer pod answers is untrusted.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from oarlock_api.record import Record

CONTRACT_VERSION = 1
"""Raised when a reader of the version before would misunderstand."""

# Variables that the operator sets in every pod.

CONTRACT_VERSION_ENV = "OARLOCK_CONTRACT_VERSION"
RUN_ENV = "OARLOCK_RUN"
"""The pod's part of the frozen run, as JSON: `oarlock_api.run.WorkerRun` or `ScriptRun` for workers, `ImportRun` for imports.
At most 32 KiB. With a `command` in it, torchrun runs that instead of Oarlock's trainer."""
JOB_UID_ENV = "OARLOCK_JOB_UID"
"""UID of the TrainingJob, or of the Dataset for an import."""
RUN_HASH_ENV = "OARLOCK_RUN_HASH"
ATTEMPT_ENV = "OARLOCK_ATTEMPT"
NODES_ENV = "OARLOCK_NODES"
NODE_RANK_ENV = "OARLOCK_NODE_RANK"
PROCESSES_PER_NODE_ENV = "OARLOCK_PROCESSES_PER_NODE"
CPUS_ENV = "OARLOCK_CPUS"
"""CPU cores of the pod, rounded down to at least 1; thread counts derive from it."""
RENDEZVOUS_ENDPOINT_ENV = "OARLOCK_RENDEZVOUS_ENDPOINT"
"""host:port at which node 0 hosts the rendezvous; a node without cluster DNS replaces it by an address. Empty for one node."""
RENDEZVOUS_ID_ENV = "OARLOCK_RENDEZVOUS_ID"
JOIN_TIMEOUT_SECONDS_ENV = "OARLOCK_JOIN_TIMEOUT_SECONDS"
PROGRESS_DEADLINE_SECONDS_ENV = "OARLOCK_PROGRESS_DEADLINE_SECONDS"
GRACE_PERIOD_SECONDS_ENV = "OARLOCK_GRACE_PERIOD_SECONDS"
POD_NAME_ENV = "OARLOCK_POD_NAME"
POD_IP_ENV = "OARLOCK_POD_IP"
STATUS_PORT_ENV = "OARLOCK_STATUS_PORT"
TERMINATION_LOG_ENV = "OARLOCK_TERMINATION_LOG"
"""File into which the agent writes the termination record."""
DATA_DIR_ENV = "OARLOCK_DATA_DIR"
"""Folder that holds `dataset.json`. For an import: the claim's folder for this Dataset, in which versions appear."""
RUN_DIR_ENV = "OARLOCK_RUN_DIR"
"""The job's own folder on the checkpoint volume."""
SOURCE_DIR_ENV = "OARLOCK_SOURCE_DIR"
"""Folder on the mounted source volume from which an import reads; unset for other sources."""
SCRATCH_DIR_ENV = "OARLOCK_SCRATCH_DIR"
"""Writable folder of the pod, gone with it: rank records, compile caches."""
CODE_DIR_ENV = "OARLOCK_CODE_DIR"
"""Folder with the user's own Python files; the agent puts it on the path of Python. Unset: there are none."""
FIRST_WEIGHTS_ENV = "OARLOCK_FIRST_WEIGHTS"
"""File with the weights that the model begins with, or the folder of the run that left them. Unset: they are random."""

PATH_ENVS = (
    *(TERMINATION_LOG_ENV, DATA_DIR_ENV, RUN_DIR_ENV, SOURCE_DIR_ENV, SCRATCH_DIR_ENV, CODE_DIR_ENV),
    FIRST_WEIGHTS_ENV,
)
"""Variables whose values are paths inside the pod: a node without containers translates them through the mounts."""

# Variables for the program of a script. The operator sets the seed, the agent the rest, anew for each start of torchrun.

SEED_ENV = "OARLOCK_SEED"
CHECKPOINT_DIR_ENV = "OARLOCK_CHECKPOINT_DIR"
"""Folder on the checkpoint volume that is the program's own, kept between attempts; there when it starts."""
RESUME_FROM_ENV = "OARLOCK_RESUME_FROM"
"""The same folder, if the program was started before and has left something there; else unset."""
PROGRESS_FILE_ENV = "OARLOCK_PROGRESS_FILE"
"""File to which rank 0 may append a line of JSON now and then; docs/scripts.md says what is in it. A new one for each start."""

# Where things are in a pod, and on a volume.

DATA_MOUNT = "/oarlock/data"
RUNS_MOUNT = "/oarlock/runs"
SOURCE_MOUNT = "/oarlock/source"
SCRATCH_MOUNT = "/oarlock/scratch"
CODE_MOUNT = "/oarlock/code"
FIRST_WEIGHTS_MOUNT = "/oarlock/first-weights"
"""The claim of another job from whose weights this one begins, if it is not this job's own."""
AGENT_MOUNT = "/oarlock/agent"
"""The agent in an image that lacks it; Python runs the folder."""
PROGRAM_FOLDER = "program"
"""Folder below the job's own on the volume that belongs to the program of a script."""
TERMINATION_LOG = "/dev/termination-log"
DEFAULT_STATUS_PORT = 8470
RENDEZVOUS_PORT = 29400
STATUS_PATH = "/status"
METRICS_PATH = "/metrics"
HEALTH_PATH = "/healthz"

MAX_RUN_BYTES = 32 * 1024
MAX_STATUS_BYTES = 64 * 1024
MAX_TERMINATION_BYTES = 4000
"""The kubelet keeps 4,096 bytes of a termination message."""
MAX_FAILURE_BYTES = 1000

AGENT_MODULE = "oarlock_trainer.agent"
"""Run as `python -m <module> train` or `python -m <module> import`: process 1 of every pod."""
AGENT_COPY_MODULE = "oarlock_trainer.agent.copying"
"""Run as `python -m <module> FOLDER`: copies the agent to where an image without it can run it."""
TRAINER_MODULE = "oarlock_trainer"
IMPORTER_MODULE = "oarlock_trainer.importing"
MODEL_CHECK_MODULE = "oarlock_trainer.model_check"


class PodPhase(StrEnum):
    """What a pod, or one rank in it, is doing; each phase has a counter of its own that must advance."""

    STARTING = "Starting"
    RENDEZVOUS = "Rendezvous"
    LOADING = "Loading"
    COMPILING = "Compiling"
    TRAINING = "Training"
    VALIDATING = "Validating"
    CHECKPOINTING = "Checkpointing"
    EXPORTING = "Exporting"
    IMPORTING = "Importing"
    SUSPENDING = "Suspending"
    RETRYING = "Retrying"
    FINISHED = "Finished"
    TUNING = "Tuning"
    """Searching for figures that the recipe leaves to the trainer."""


class JoinState(StrEnum):
    """How far one node of several has come in finding the others, as its own agent sees it."""

    STARTING = "Starting"
    """Its torchrun is not up yet."""
    NAME_UNKNOWN = "NameUnknown"
    """The name of node 0 has no address."""
    REFUSED = "Refused"
    """Node 0 has an address, but nobody listens there."""
    UNREACHABLE = "Unreachable"
    """Node 0 has an address, but nothing comes back from it."""
    PORT_TAKEN = "PortTaken"
    """Node 0 only: a stranger listens on the rendezvous port."""
    CONNECTING = "Connecting"
    """Node 0 can be reached; its own torchrun has not yet connected to it."""
    JOINED = "Joined"


class Standing(StrEnum):
    """What a rank that does not move seems to do: the first is the likeliest culprit, the last the likeliest victim."""

    STOPPED = "Stopped"
    """The kernel has stopped it: SIGSTOP, a debugger."""
    CHILD_STOPPED = "ChildStopped"
    """A process that it started is stopped: a data worker."""
    WAITS_FOR_DISK = "WaitsForDisk"
    BUSY = "Busy"
    """It is in code of its own."""
    WAITS_FOR_DATA = "WaitsForData"
    UNKNOWN = "Unknown"
    WAITS_FOR_RANKS = "WaitsForRanks"
    """It is in a collective operation, which ends when all other ranks come to it."""


class Outcome(StrEnum):
    """How a pod ended."""

    SUCCEEDED = "Succeeded"
    SUSPENDED = "Suspended"
    SUPERSEDED = "Superseded"
    FAILED = "Failed"


class Cause(StrEnum):
    """Why a pod failed, as far as the pod itself can tell."""

    CONFIG_INVALID = "ConfigInvalid"
    USER_ERROR = "UserError"
    OUT_OF_MEMORY = "OutOfMemory"
    NON_FINITE = "NonFinite"
    DATA_MISSING = "DataMissing"
    DATA_CORRUPT = "DataCorrupt"
    STORAGE_FULL = "StorageFull"
    STORAGE_FAILED = "StorageFailed"
    CHECKPOINT_MISMATCH = "CheckpointMismatch"
    RENDEZVOUS_FAILED = "RendezvousFailed"
    COLLECTIVE_FAILED = "CollectiveFailed"
    PROCESS_KILLED = "ProcessKilled"
    DEVICE_FAILED = "DeviceFailed"
    """A GPU that is broken or lost, not what ran on it."""
    HUNG = "Hung"
    SUPERSEDED = "Superseded"
    UNKNOWN = "Unknown"


EXIT_SUCCESS = 0
EXIT_SUSPENDED = 75
"""EX_TEMPFAIL: checkpointed on request, to be resumed."""
EXIT_SUPERSEDED = 76
EXIT_CODES: dict[Cause, int] = {
    Cause.CONFIG_INVALID: 78,
    Cause.USER_ERROR: 70,
    Cause.OUT_OF_MEMORY: 71,
    Cause.NON_FINITE: 72,
    Cause.DATA_MISSING: 66,
    Cause.DATA_CORRUPT: 65,
    Cause.STORAGE_FULL: 73,
    Cause.STORAGE_FAILED: 74,
    Cause.CHECKPOINT_MISMATCH: 79,
    Cause.RENDEZVOUS_FAILED: 69,
    Cause.COLLECTIVE_FAILED: 80,
    Cause.PROCESS_KILLED: 81,
    Cause.HUNG: 82,
    Cause.DEVICE_FAILED: 83,
    Cause.SUPERSEDED: EXIT_SUPERSEDED,
    Cause.UNKNOWN: 1,
}
CAUSES_BY_EXIT_CODE: dict[int, Cause] = {code: cause for cause, code in EXIT_CODES.items()}
RETRIED_IN_PLACE: frozenset[Cause] = frozenset({Cause.PROCESS_KILLED, Cause.COLLECTIVE_FAILED})
"""Causes that the agent of a one-node job answers by starting torchrun again in the same pod."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure(Record):
    """The black box: what failed first, where, and what to do."""

    cause: str
    """A `Cause`."""
    message: str
    """One or two sentences: what was found."""
    remedy: str = ""
    rank: int | None = None
    node: int | None = None
    phase: str = ""
    """The `PodPhase` in which it happened."""
    step: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    detail: str = ""
    """The end of the traceback."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointFacts(Record):
    """One checkpoint that is verified on the volume."""

    step: int
    epoch: float
    path: str
    """Relative to the job's folder on the volume."""
    bytes: int
    time: float
    """Seconds since 1970 at which it was complete."""
    metric: float | None = None
    """Value of the metric that `keepBest` names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RankStatus(Record):
    """What one process is doing."""

    rank: int
    pid: int
    phase: str
    step: int
    since: float
    """Seconds since 1970 of its last sign of progress."""
    rss: int
    """Resident memory in bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JoinStatus(Record):
    """What one node of several sees of the rendezvous."""

    state: str
    """A `JoinState`."""
    since: float
    """Seconds since 1970."""
    endpoint: str = ""
    """host:port of node 0, as this node was told."""
    detail: str = ""
    """What the system says."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StalledRank(Record):
    """A process that has given no sign of progress for longer than its phase lets expect."""

    rank: int
    pid: int
    phase: str
    step: int | None = None
    since: float
    """Seconds since 1970 of its last sign of progress."""
    due: float | None = None
    """Seconds since 1970 at which it will count as hung; None: never."""
    standing: str
    """A `Standing`."""
    where: str = ""
    """The line of code that it is in, as far as known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerStatus(Record):
    """What the agent answers on `/status`."""

    contract_version: int = CONTRACT_VERSION
    job_uid: str
    run_hash: str
    attempt: int
    node: int
    phase: str
    phase_since: float
    position: int = 0
    """Samples consumed since the start of the run, across all attempts."""
    step: int = 0
    steps: int = 0
    epoch: float = 0.0
    epochs: float = 0.0
    eta_seconds: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    """Finite values only, keyed by `oarlock_api.metrics` names."""
    non_finite: list[str] = field(default_factory=list)
    checkpoint_latest: dict[str, Any] | None = None
    """A `CheckpointFacts`."""
    checkpoint_best: dict[str, Any] | None = None
    checkpoint_in_flight: int | None = None
    """Step of the checkpoint being written."""
    ranks: list[dict[str, Any]] = field(default_factory=list)
    """`RankStatus` of each local process."""
    retries: int = 0
    """Times torchrun was started again in this pod."""
    join: dict[str, Any] | None = None
    """A `JoinStatus`; None for one node, and from agents that do not say."""
    stalled: list[dict[str, Any]] = field(default_factory=list)
    """`StalledRank` of local processes that do not move, the likeliest culprits first; a few at most."""
    warnings: list[str] = field(default_factory=list)
    """What the user should know though training goes on: a corrupt checkpoint that was skipped, say."""
    notes: list[str] = field(default_factory=list)
    """What the trainer decided by itself, and why."""
    level: str = ""
    """Of a script: a `ScriptLevel`; empty: of Oarlock's own trainer."""
    activity: dict[str, Any] | None = None
    """Of a script: a `ScriptActivity`."""
    time: float | None = None
    """Seconds since 1970 at the moment of the answer, by the clock that all its times are of; None from agents that do not say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TerminationRecord(Record):
    """What the agent leaves behind as the container's termination message, on success, suspension and failure alike."""

    contract_version: int = CONTRACT_VERSION
    job_uid: str
    run_hash: str
    attempt: int
    node: int
    outcome: str
    """An `Outcome`."""
    position: int = 0
    step: int = 0
    steps: int = 0
    epoch: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)
    non_finite: list[str] = field(default_factory=list)
    """Figures whose last value was not finite; what was known of them before is not what they are now."""
    checkpoint_latest: dict[str, Any] | None = None
    checkpoint_best: dict[str, Any] | None = None
    export: str = ""
    """The exported model, relative to the job's folder on the volume."""
    dataset: dict[str, Any] | None = None
    """For an import: `DatasetFacts`."""
    failure: dict[str, Any] | None = None
    """A `Failure`."""
    retries: int = 0
    level: str = ""
    """Of a script: a `ScriptLevel`."""
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What the trainer decided by itself, and why: that it stopped early, say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetFacts(Record):
    """What an import wrote."""

    version: str
    """Hash of the content: equal content, equal version."""
    path: str
    """Folder of this version, relative to the root of the claim."""
    bytes: int
    classes: list[str]
    """At most 50 names; `class_count` says how many there are."""
    class_count: int
    counts: dict[str, int]
    """Samples per split."""
    class_counts: dict[str, list[int]]
    """Samples per split and class, in the order of `classes`; of masks pixels, of boxes boxes."""
    sample_shape: list[int]
    """Height, width, channels; of texts, their length."""
    vocabulary_size: int | None = None
    """Of texts: different numbers that there may be."""
    rejected: int = 0
    first_rejects: list[str] = field(default_factory=list)
    """The first few rejected files, each with its reason."""
