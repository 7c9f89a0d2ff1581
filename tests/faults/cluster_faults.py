"""The cluster's side of the table of faults: what happens to pods, nodes, volumes, the API and the data."""

from collections.abc import Iterator

from faults.fault import Answer, Fault
from faults.weights_faults import WEIGHTS_FAULTS

_INJECTIONS = "faults/injections.py"
_CLOCKS = {"trainer-silent": "20 s without an answer, and at most 30 s more, as for all progress"}
_RESUMES = "training resumes by itself from the last checkpoint"

Row = tuple[str, str, str, str, str, str]
"""Name, fault, how it is injected, reason, message, remedy."""


def _rows(topic: str, phase: str, answer: Answer, rows: tuple[Row, ...]) -> Iterator[Fault]:
    for name, fault, injected, reason, message, remedy in rows:
        yield Fault(
            name=name,
            topic=topic,
            fault=fault,
            injected=injected,
            phase=phase,
            reason=reason,
            message=message,
            remedy=remedy,
            answer=answer,
            test=_INJECTIONS,
            clock=_CLOCKS.get(name, ""),
        )


_REAL = "The real scheduler finds no node"
_SCHEDULING: tuple[Row, ...] = (
    ("gpus-short", "No node has as many GPUs", _REAL, "Unschedulable",
     "no node for pod <pod>: it needs 8 nvidia.com/gpu; free: 4 on faults-small",
     "No node that takes the pod has more than 4 nvidia.com/gpu: lower workers.gpusPerNode, or add larger nodes"),
    ("cpus-short", "No node has as many cores", _REAL, "Unschedulable",
     "no node for pod <pod>: it needs 8 cpu; free: 4 on faults-small",
     "No node that takes the pod has more than 4 cpu: lower workers.resources.cpu"),
    ("memory-short", "No node has as much memory", _REAL, "Unschedulable",
     "no node for pod <pod>: it needs 64Gi memory; free: 8Gi on faults-small",
     "No node that takes the pod has more than 8Gi memory: lower workers.resources.memory"),
    ("selector-unmatched", "No node has the labels of nodeSelector", _REAL, "Unschedulable",
     "<count> nodes have not the labels that podTemplate.nodeSelector faults=faults-nowhere asks for",
     "Correct podTemplate.nodeSelector faults=faults-nowhere, or label a node so"),
    ("affinity-unmatched", "No node fits the affinity", _REAL, "Unschedulable",
     "not the labels that podTemplate.affinity asks for", "Correct podTemplate.affinity, or label a node so"),
    ("taint-untolerated", "The nodes have a taint", _REAL, "Unschedulable",
     "1 node has an untolerated taint gpu=reserved (faults-tainted)",
     "If the pods may run there, add a toleration of gpu=reserved to podTemplate.tolerations"),
    ("node-cordoned", "The nodes are cordoned", _REAL, "Unschedulable",
     "1 node is cordoned (faults-cordoned)", "`kubectl uncordon faults-cordoned`"),
    ("node-not-ready", "The nodes are not ready", f"{_REAL}; the node controller has tainted them", "Unschedulable",
     "1 node is not ready (faults-silent)", "See to the kubelet of the node"),
    ("volume-elsewhere", "A volume is in another zone", f"{_REAL}: a bound volume has a node affinity", "Unschedulable",
     "where a volume of the pod cannot be used", "Let nodes be where the volume is"),
    ("claim-missing", "A claim that podTemplate mounts does not exist", _REAL, "ClaimMissing",
     'no node for pod <pod>: <the scheduler\'s words> "nowhere" not found', "Restore claim nowhere if its data is needed"),
)  # fmt: skip

_EVENT = "An Event as the kubelet or the attach controller writes it"
_WAITS = "A waiting container as the kubelet shows it"
_VOLUMES: tuple[Row, ...] = (
    ("class-missing", "The StorageClass does not exist", "The real volume controller refuses", "StorageClassMissing",
     "claim class-missing-checkpoints needs StorageClass faults-missing, which does not exist",
     "Create it; or delete the claim and apply again with a storageClass"),
    ("provisioning-fails", "The storage has no room", "An Event as provisioners write it", "ProvisioningFailed",
     "claim provisioning-fails-checkpoints of StorageClass faults-slow is Pending: ProvisioningFailed: <its words>",
     "Free or raise the quota of the storage, or ask for less"),
    ("mount-fails", "A volume cannot be mounted", _EVENT, "VolumeNotMounted",
     "a volume of pod <pod> on node <node> cannot be mounted: FailedMount: <the kubelet's words>",
     "Check the volume, its storage driver on the node, and the rights on the share"),
    ("volume-in-use", "A volume is attached to another node", _EVENT, "VolumeInUse",
     "pod <pod> on node <node> waits for volume pvc-1, which is attached to another node",
     "It starts once the pods that use it there are gone"),
    ("secret-volume-missing", "A Secret that is mounted does not exist", _EVENT, "SecretMissing",
     "the container of pod <pod> on node <node> cannot start: Secret registry-keys does not exist in this namespace",
     "Create Secret registry-keys"),
)  # fmt: skip
_CLAIMS_UNDER_JOBS: tuple[Row, ...] = (
    ("claim-deleted", "The claim is deleted under a running job", "kubectl delete pvc", "ClaimTerminating",
     "claim claim-deleted-checkpoints is being deleted, and goes with what is on it once no pod uses it",
     "Copy what is needed while the pods run"),
    ("volume-revoked", "The volume goes under a running job", "The PersistentVolume is removed", "ClaimLost",
     "claim volume-revoked-checkpoints is Lost: its volume is gone", "Restore the volume, or name another claim"),
    ("trainer-silent", "The agents cannot be reached (NetworkPolicy)", "Nobody listens at the pod's address",
     "ProgressUnknown", "pod <pod> has not answered since <time>: training may go on all the same",
     "Check that a NetworkPolicy lets the operator reach the status port"),
    ("node-clock-wrong", "The clock of a node is three hours ahead", "A container that starts in three hours", "NodeClockWrong",
     "the clock of node <node> is at least 3.0 hours ahead, against the API server's", "Set the clock of that node"),
    ("run-edited", "Somebody edits status.run", "The status is patched", "RunUnreadable",
     "status.run cannot be read by this operator: it was edited, or written by a newer one",
     "Restore it, upgrade the operator, or delete the job and apply it again"),
    ("spec-edited", "Somebody edits the spec of a running job", "The spec is patched", "SpecChanged",
     "spec.recipe.epochs must stay 2.0, with which the run was accepted, got 3.0",
     "set it back, or apply the new spec under another name; the run goes on as it was accepted"),
)  # fmt: skip

_PULL = "pod <pod> on node <node> cannot pull image r.example.com/mine:1: "
_IMAGES: tuple[Row, ...] = (
    ("image-not-found", "The image does not exist", _WAITS, "ImageNotFound",
     _PULL + "the registry has no such image", "Push it, or correct the image in podTemplate"),
    ("image-unauthorised", "The registry wants credentials", _WAITS, "ImageUnauthorized",
     _PULL + "the registry does not let the node read it", "Name a Secret with credentials in podTemplate.imagePullSecrets"),
    ("registry-unreachable", "The registry cannot be reached", _WAITS, "RegistryUnreachable",
     _PULL + "the registry does not answer the node", "Check the registry, the node's DNS and network"),
    ("registry-rate-limited", "The registry limits pulls", _WAITS, "RegistryRateLimited",
     _PULL + "the registry limits how often it is asked", "Log in with podTemplate.imagePullSecrets, or use a mirror"),
    ("image-name-invalid", "The image's name is none", _WAITS, "ImageNameInvalid",
     "pod <pod> on node <node> cannot pull image <image>: that is no image's name", "Correct the image in podTemplate"),
    ("image-wrong-platform", "The image is for other processors", _WAITS, "ImageWrongPlatform",
     _PULL + "it is not built for this node's processor", "Build it for this architecture"),
    ("pull-backed-off", "The kubelet says no more than that it waits", "Its Event of before, then ImagePullBackOff",
     "ImageNotFound", "cannot pull image mine:1: the registry has no such image", "Push it, or correct the image"),
)  # fmt: skip

_START = "the container of pod <pod> on node <node> cannot start: "
_CONTAINERS: tuple[Row, ...] = (
    ("secret-missing", "A Secret does not exist", _WAITS, "SecretMissing",
     _START + "Secret hub-token does not exist in this namespace", "Create Secret hub-token"),
    ("secret-key-missing", "A Secret lacks a key", _WAITS, "SecretKeyMissing",
     _START + "Secret hub-token has no key token", "Add the key token to Secret hub-token"),
    ("configmap-missing", "A ConfigMap does not exist", _WAITS, "ConfigMapMissing",
     _START + "ConfigMap settings does not exist in this namespace", "Create ConfigMap settings"),
    ("image-runs-as-root", "The image runs as root", _WAITS, "RunsAsRoot",
     _START + "the image runs as root", "Build the image with a USER that is a number"),
    ("image-without-python", "The image has no python", _WAITS, "ProgramMissing",
     _START + "the image has no python to run the trainer with", "Use the trainer image"),
    ("gpu-driver-broken", "The node's GPU driver is broken", _WAITS, "GpuRuntimeFailed",
     _START + "the node cannot give the container its GPUs", "See to the driver and the container toolkit of the node"),
    ("pod-network-fails", "The node has no addresses left", _EVENT, "PodNetworkFailed",
     "the node cannot set up the network of pod <pod> on node <node>: <the kubelet's words>",
     "See to the network plugin (CNI) of the node"),
)  # fmt: skip
_ADDED = "A pod with a container that a webhook added, as the kubelet shows it"
_WEBHOOK = "See `kubectl logs <pod> -c mesh`, and the webhook that adds it"
_INIT: tuple[Row, ...] = (
    ("init-container-crashes", "An init container fails again and again", _ADDED, "InitContainerCrashing",
     "init container mesh of pod <pod> on node <node> fails again and again: the last time it ended with exit code 1: iptables",
     _WEBHOOK),
    ("init-container-without-image", "The image of an init container does not exist", _ADDED, "ImageNotFound",
     "pod <pod> on node <node> cannot pull image r.example.com/mesh:1 of init container mesh: the registry has no such image",
     _WEBHOOK),
    ("init-container-endless", "An init container does not end", _ADDED, "InitContainerRunning",
     "init container mesh of pod <pod> on node <node> runs since <time> and has not ended: the trainer starts only after it",
     _WEBHOOK),
)  # fmt: skip
_INIT_FAILED: tuple[Row, ...] = (
    ("init-container-fails", "An init container fails", _ADDED, "InitContainerFailed",
     "init container mesh of pod <pod> on node <node> ended with exit code 1: iptables: permission denied", _WEBHOOK),
    ("sidecar-outlives-trainer", "A sidecar runs on after the trainer was killed", _ADDED, "ProcessKilled",
     "pod <pod> on node <node> was killed", "look for an out-of-memory kill or a hardware fault in the node's log"),
)  # fmt: skip
_START_ERROR: tuple[Row, ...] = (
    ("start-error", "The container ends with StartError", "A failed pod as the kubelet shows it", "ContainerRefused",
     "the container of pod <pod> on node <node> cannot start", "check the image: it needs python and the oarlock trainer"),
)  # fmt: skip

_FAILED = "A failed pod as the kubelet shows it"
_GONE = "The condition DisruptionTarget, then the deletion"
_FREE_PODS: tuple[Row, ...] = (
    ("pod-deleted", "Somebody deletes a pod", "kubectl delete pod", "PodDeleted",
     "pod <pod> on node <node> was deleted", "to stop it, set runPolicy.suspend or delete the TrainingJob"),
    ("evicted-memory", "The node is low on memory", _FAILED, "Evicted",
     "pod <pod> on node <node> was evicted: The node was low on resource: memory", _RESUMES),
    ("evicted-disk", "The node is low on disk", _FAILED, "Evicted",
     "pod <pod> on node <node> was evicted: The node was low on resource: ephemeral-storage", _RESUMES),
    ("preempted", "A pod of higher priority takes the place", _GONE, "Preempted",
     "pod <pod> on node <node> made room for a pod of higher priority", "a higher workers.podTemplate.priorityClassName protects it"),
    ("drained", "kubectl drain", _GONE, "Evicted", "pod <pod> on node <node> was evicted: EvictionByEvictionAPI", _RESUMES),
    ("node-full", "The node refuses the pod: it is full", _FAILED, "NodeRefused",
     "pod <pod> on node <node> was refused by the node: <the kubelet's words>", _RESUMES),
    ("devices-unavailable", "The node refuses the pod: its GPUs are gone", _FAILED, "NodeRefused",
     "pod <pod> on node <node> was refused by the node: <the kubelet's words>", _RESUMES),
    ("node-shutdown", "The node shuts down", _FAILED, "Evicted",
     "pod <pod> on node <node> was evicted: Pod was terminated in response to imminent node shutdown", _RESUMES),
    ("node-lost", "The node is silent", "The node is not ready, as the node controller writes it", "NodeLost",
     "node faults-lost of pod <pod> is lost", _RESUMES),
    ("node-deleted", "The node is removed", "kubectl delete node", "NodeLost",
     "node faults-gone of pod <pod> is lost", _RESUMES),
)  # fmt: skip
_WINDOWED_PODS: tuple[Row, ...] = (
    ("process-killed", "A container is killed", _FAILED, "ProcessKilled",
     "pod <pod> on node <node> was killed", "look for an out-of-memory kill or a hardware fault in the node's log"),
)  # fmt: skip
_COUNTED_PODS: tuple[Row, ...] = (
    ("out-of-memory", "A container uses more memory than it may", _FAILED, "OutOfMemory",
     "pod <pod> on node <node> used more memory than it may", "raise the memory in resources, or lower microBatchSize"),
    ("pod-disk-full", "A pod fills its disk", _FAILED, "StorageFull",
     "pod <pod> on node <node> ran out of disk: Pod ephemeral local storage usage exceeds", "free or enlarge the volume"),
    ("exit-unexplained", "A container ends without a word", _FAILED, "Unknown",
     "pod <pod> on node <node> ended with exit code 1", "read the pod's log on the checkpoint volume"),
)  # fmt: skip

_API: tuple[Row, ...] = (
    ("quota-of-pods", "The quota of pods is used up", "A ResourceQuota", "QuotaExceeded",
     "the API server refuses Pod <pod>: <its words>exceeded quota: few-pods", "raise ResourceQuota few-pods"),
    ("quota-of-storage", "The quota of storage is used up", "A ResourceQuota", "QuotaExceeded",
     "the API server refuses PersistentVolumeClaim quota-of-storage-checkpoints: <its words>exceeded quota: little-storage",
     "raise ResourceQuota little-storage"),
    ("limit-range", "A claim is larger than the LimitRange allows", "A LimitRange", "LimitRangeExceeded",
     "the API server refuses PersistentVolumeClaim limit-range-checkpoints: <its words>is 50Gi, but request is 100Gi",
     "ask for what the LimitRange of this namespace allows"),
    ("webhook-denies", "An admission webhook refuses", "A webhook that refuses", "WebhookDenied",
     'the API server refuses Pod <pod>: admission webhook "webhook-denies.example.com" denied the request: images must be signed',
     "satisfy the policy of webhook webhook-denies.example.com"),
    ("webhook-down", "An admission webhook does not answer", "A webhook without a server", "WebhookUnavailable",
     'the API server cannot create now Pod <pod>: <its words>failed calling webhook "webhook-down.example.com"',
     "see to the server of webhook webhook-down.example.com"),
    ("priority-class-missing", "The priority class does not exist", "The real API server refuses", "PriorityClassMissing",
     "the API server refuses Pod <pod>: <its words>no PriorityClass with name faults-unknown was found",
     "create PriorityClass faults-unknown"),
    ("service-account-missing", "The service account does not exist", "The real API server refuses",
     "ServiceAccountMissing", 'the API server refuses Pod <pod>: <its words>serviceaccount "nobody" not found',
     "create ServiceAccount nobody in this namespace"),
    ("api-throttled", "The API server throttles", "A proxy before it answers 429", "ApiThrottled",
     "the API server cannot create now Pod <pod>: too many requests", "it is asked again by itself"),
    ("name-taken", "A stranger has the pod's name", "A pod of that name", "NameTaken",
     "pod <pod> exists and does not belong to this job", "Delete it, or rename the job"),
)  # fmt: skip
_SERVICE: tuple[Row, ...] = (
    ("service-deleted", "The Service is deleted under running pods", "kubectl delete service", "ServiceRestored",
     "service <service> was deleted under running pods, and created again", "Look for who deletes it"),
)  # fmt: skip

_INVALID: tuple[Row, ...] = (
    ("claim-of-one-node", "The access mode is for one node only", "A job of two nodes", "InvalidSpec",
     "spec must have a checkpoint volume with ReadWriteMany for more than one node, got 2 nodes and ReadWriteOnce",
     "set checkpoints.volume.accessModes to [ReadWriteMany]"),
)  # fmt: skip
_DATA: tuple[Row, ...] = (
    ("dataset-missing", "The Dataset does not exist", "A job that names none", "DatasetMissing",
     "there is no Dataset nowhere in this namespace", "Apply it, or correct dataset.name"),
    ("dataset-failed", "The import has failed", "An import pod that finds corrupt data", "DatasetFailed",
     "Dataset broken is Failed: pod <pod> on node <node>: row 7 has 3 columns, the others 785", "Remedy: mend the file"),
    ("dataset-deleted", "The Dataset is being deleted", "kubectl delete dataset", "DatasetTerminating",
     "Dataset leaving is being deleted", "Apply it again once it is gone"),
)  # fmt: skip

CLUSTER_FAULTS: tuple[Fault, ...] = (
    *_rows("Pods that find no node", "Starting", Answer.WAITS, _SCHEDULING),
    *_rows("Volumes", "Starting", Answer.WAITS, _VOLUMES),
    *_rows("Volumes", "Invalid", Answer.NEVER, _INVALID),
    *_rows("Images", "Starting", Answer.WAITS, _IMAGES),
    *_rows("Containers", "Starting", Answer.WAITS, _CONTAINERS),
    *_rows("Containers", "Failed", Answer.NEVER, _START_ERROR),
    *_rows("Containers that webhooks add", "Starting", Answer.WAITS, _INIT),
    *_rows("Containers that webhooks add", "Restarting", Answer.WINDOWED, _INIT_FAILED),
    *_rows("Pods and nodes", "Restarting", Answer.FREE, _FREE_PODS),
    *_rows("Pods and nodes", "Restarting", Answer.WINDOWED, _WINDOWED_PODS),
    *_rows("Pods and nodes", "Restarting", Answer.COUNTED, _COUNTED_PODS),
    *_rows("The API server", "Starting", Answer.WAITS, _API),
    *_rows("Under running jobs", "Starting", Answer.GOES_ON, _CLAIMS_UNDER_JOBS),
    *_rows("Under running jobs", "Rendezvous", Answer.GOES_ON, _SERVICE),
    *_rows("Data", "WaitingForData", Answer.WAITS, _DATA),
    *WEIGHTS_FAULTS,
)
