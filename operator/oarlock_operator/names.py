"""Every derived name, label key and condition, in one place. Pure."""

from oarlock_api.contract import RENDEZVOUS_PORT

JOB_LABEL = "oarlock.dev/job"
DATASET_LABEL = "oarlock.dev/dataset"
UID_LABEL = "oarlock.dev/uid"
"""UID of the TrainingJob or Dataset that a pod or service belongs to: selectors use it, since names are reused."""
ATTEMPT_LABEL = "oarlock.dev/attempt"
RANK_LABEL = "oarlock.dev/rank"
ROLE_LABEL = "oarlock.dev/role"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
NAME_LABEL = "app.kubernetes.io/name"
COMPONENT_LABEL = "app.kubernetes.io/component"
INSTANCE_LABEL = "app.kubernetes.io/instance"
MANAGED_BY = "oarlock"

RUN_HASH_ANNOTATION = "oarlock.dev/run-hash"
GRACE_PERIOD_ANNOTATION = "oarlock.dev/grace-period-seconds"

KUEUE_GROUP = "kueue.x-k8s.io"
KUEUE_QUEUE_LABEL = f"{KUEUE_GROUP}/queue-name"
KUEUE_POD_GROUP_LABEL = f"{KUEUE_GROUP}/pod-group-name"
KUEUE_TOTAL_COUNT_ANNOTATION = f"{KUEUE_GROUP}/pod-group-total-count"

COSCHEDULING_GROUP_LABEL = "scheduling.x-k8s.io/pod-group"
VOLCANO_GROUP_ANNOTATION = "scheduling.k8s.io/group-name"

IN_USE_FINALIZER = "oarlock.dev/in-use"
"""On a Dataset, and only while an unfinished job refers to it."""

WORKER_ROLE = "worker"
SCOUT_ROLE = "scout"
"""Of a pod that only finds out whether there is room for one more worker."""
CHECK_ROLE = "check"
"""Of a pod that only finds out whether a model fits its data set."""
IMPORT_ROLE = "import"

TRAINER_CONTAINER = "trainer"
AGENT_CONTAINER = "agent"
"""Init container of a script with an image of its own: copies the agent there."""


def short_uid(uid: str) -> str:
    """Return the part of a UID that goes into names: its first 8 hexadecimal digits."""
    return uid.replace("-", "")[:8]


def worker_pod_name(job: str, uid: str, *, attempt: int, rank: int) -> str:
    return f"{job}-{short_uid(uid)}-{attempt}-{rank}"


def model_check_pod_name(job: str, uid: str, *, run_hash: str) -> str:
    """Name of the pod that checks the model of one run: a job whose spec was mended gets another one."""
    return f"{job}-{short_uid(uid)}-check-{run_hash[:8]}"


def pod_group_name(job: str, uid: str, *, attempt: int) -> str:
    return f"{job}-{short_uid(uid)}-{attempt}"


def import_pod_name(dataset: str, uid: str, *, attempt: int) -> str:
    return f"{dataset}-{short_uid(uid)}-import-{attempt}"


def service_name(job: str, uid: str) -> str:
    return f"{job}-{short_uid(uid)}"


def checkpoint_claim_name(job: str) -> str:
    """Name of the claim that is created for a job's checkpoints: without a UID, so that a job applied again finds it."""
    return f"{job}-checkpoints"


def data_claim_name(dataset: str) -> str:
    return f"{dataset}-data"


def data_folder(dataset: str, uid: str) -> str:
    """Return the folder of a Dataset inside its claim, in which versions appear."""
    return f"{dataset}-{short_uid(uid)}"


def rank_zero_hostname(attempt: int) -> str:
    return f"r0-a{attempt}"


def worker_hostname(*, attempt: int, rank: int) -> str:
    return f"r{rank}-a{attempt}"


def rendezvous_endpoint(job: str, uid: str, *, attempt: int) -> str:
    return f"{rank_zero_hostname(attempt)}.{service_name(job, uid)}:{RENDEZVOUS_PORT}"


def rendezvous_id(uid: str, *, attempt: int) -> str:
    return f"{uid}-a{attempt}"
