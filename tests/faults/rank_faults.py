"""What happens to ranks and what they do: exceptions, kills, native crashes, GPUs, memory."""

from faults.fault import Answer, Fault

_TEST = "faults/test_trainer_faults.py"
_TOPIC = "Ranks, torchrun and the agent"
_PEERS = "see the rank that ended first; if none did, check the network between these nodes"

RANK_FAULTS: tuple[Fault, ...] = (
    Fault(
        name="user-exception", topic=_TOPIC, fault="An exception in one of two ranks; the other loses its peer",
        injected="a rank reports it, as the trainer does with whatever the model or the data raise",
        phase="Restarting", reason="UserError",
        message="pod <pod> on node <node>: ValueError: no such column",
        remedy="see the traceback; the same error will come again until the code or the data changes",
        answer=Answer.COUNTED, test=_TEST,
    ),
    Fault(
        name="peer-lost", topic=_TOPIC, fault="gloo loses the connection to a peer, and no pod is known to have ended first",
        injected="both ranks report gloo's words",
        phase="Restarting", reason="CollectiveFailed",
        message="pod <pod> on node <node>: RuntimeError: <gloo> Connection closed by peer",
        remedy="see the rank that ended first", answer=Answer.WINDOWED, test=_TEST,
    ),
    Fault(
        name="rank-killed", topic=_TOPIC, fault="A rank of two nodes is killed with SIGKILL",
        injected="the rank sends it to itself; the other reports the lost connection",
        phase="Restarting", reason="ProcessKilled",
        message="pod <pod> on node <node>: Rank 1 (node rank 1, process <pid>) was killed by SIGKILL in phase Training after step 5",
        remedy="see what killed it: the node's memory, an administrator, or a limit of the container",
        answer=Answer.WINDOWED, test=_TEST,
    ),
    Fault(
        name="rank-killed-in-place", topic=_TOPIC, fault="A rank of a job of one node is killed with SIGKILL",
        injected="the rank sends it to itself",
        phase="Training", reason="Training",
        message="Started again in place (1): Rank 1 (node rank 0, process <pid>) was killed by SIGKILL",
        remedy="Started again in place", answer=Answer.IN_PLACE, test=_TEST,
    ),
    Fault(
        name="rank-segfault", topic=_TOPIC, fault="A native library crashes",
        injected="the rank reads address 0",
        phase="Restarting", reason="ProcessKilled",
        message="pod <pod> on node <node>: Rank 0 (node rank 0, process <pid>) was killed by SIGSEGV in phase Training after step 5",
        remedy="a native library crashed: its stack is in the log; try another version of it or of the image",
        answer=Answer.WINDOWED, test=_TEST,
    ),
    Fault(
        name="rank-exit-code", topic=_TOPIC, fault="A rank ends with an exit code and without a word",
        injected="the rank exits with 3",
        phase="Restarting", reason="Unknown",
        message="pod <pod> on node <node>: Rank 0 (node rank 0, process <pid>) ended with exit code 3 in phase Loading",
        remedy="read the log of this attempt on the checkpoint volume; its end is in the detail",
        answer=Answer.COUNTED, test=_TEST,
    ),
    Fault(
        name="nccl-timeout", topic=_TOPIC, fault="NCCL's watchdog gives up and aborts the process",
        injected="the rank prints the watchdog's words and aborts",
        phase="Restarting", reason="CollectiveFailed",
        message="pod <pod> on node <node>: Rank 0 <place> was killed by SIGABRT in phase Training after step 5. It printed:"
        " Watchdog caught collective operation timeout: WorkNCCL(SeqNum=<n>, OpType=ALLREDUCE",
        remedy=_PEERS, answer=Answer.WINDOWED, test=_TEST,
    ),
    Fault(
        name="nccl-remote-error", topic=_TOPIC, fault="NCCL loses a peer",
        injected="the rank prints NCCL's words and aborts",
        phase="Restarting", reason="CollectiveFailed",
        message="It printed: ncclRemoteError: A call failed possibly due to a network error or a remote process exiting",
        remedy=_PEERS, answer=Answer.WINDOWED, test=_TEST,
    ),
    Fault(
        name="gpu-broken", topic=_TOPIC, fault="A GPU has an uncorrectable memory error",
        injected="the rank prints CUDA's words and aborts",
        phase="Restarting", reason="DeviceFailed",
        message="pod <pod> on node <node>: Rank 0 <place> It printed: CUDA error: uncorrectable ECC error encountered",
        remedy="take the node out of service (kubectl cordon) and see its kernel log (Xid) and nvidia-smi -q",
        answer=Answer.WINDOWED, test=_TEST,
    ),
    Fault(
        name="shared-memory-small", topic=_TOPIC, fault="/dev/shm is too small for the data workers",
        injected="the rank prints torch's words and ends with SIGBUS",
        phase="Restarting", reason="OutOfMemory",
        message="was killed by SIGBUS in phase Training after step 5. It printed: RuntimeError: DataLoader worker (pid <pid>) is killed",
        remedy="raise workers.resources.memory, of which /dev/shm is a part, or lower num_workers of the program's DataLoader",
        answer=Answer.COUNTED, test=_TEST,
    ),
    Fault(
        name="out-of-memory-kill", topic=_TOPIC, fault="The kernel kills one rank of a pod for want of memory, not the container",
        injected="a rank fills its memory in a memory cgroup with a limit of 128 MiB",
        phase="Restarting", reason="OutOfMemory",
        message="The kernel's OOM killer ended 1 process(es) of this pod. Rank 1 (node rank 0, process <pid>) was killed by SIGKILL",
        remedy="raise workers.resources.memory, or lower recipe.microBatchSize",
        answer=Answer.COUNTED, test=_TEST,
    ),
    Fault(
        name="torchrun-killed", topic=_TOPIC, fault="torchrun is killed; its ranks go with it",
        injected="a rank sends SIGKILL to it",
        phase="Restarting", reason="ProcessKilled",
        message="pod <pod> on node <node>: torchrun of node rank 0 was killed by SIGKILL",
        remedy="see what killed it: the node's memory, an administrator, or a limit of the container",
        answer=Answer.WINDOWED, test=_TEST,
    ),
    Fault(
        name="agent-killed", topic=_TOPIC, fault="The agent, process 1 of the pod, is killed and leaves no record",
        injected="a rank sends SIGKILL to it",
        phase="Restarting", reason="ProcessKilled",
        message="pod <pod> on node <node> was killed",
        remedy="look for an out-of-memory kill or a hardware fault in the node's log",
        answer=Answer.WINDOWED, test=_TEST,
    ),
    Fault(
        name="attempt-superseded", topic=_TOPIC, fault="A pod finds a later attempt of its job on the volume",
        injected="a rank reports what the fence says",
        phase="Restarting", reason="Superseded",
        message="pod <pod> on node <node>: attempt 1 of this job owns the volume",
        remedy="nothing is to be done: the later attempt trains on", answer=Answer.FREE, test=_TEST,
    ),
    Fault(
        name="world-size-wrong", topic=_TOPIC, fault="The numbers of nodes and ranks contradict each other",
        injected="node rank 1 of one node",
        phase="Failed", reason="ConfigInvalid",
        message="pod <pod> on node <node>: OARLOCK_NODE_RANK must be a whole number of at least 0 and at most 0, got '1'",
        remedy="see that no podTemplate overrides them, and that the operator and the trainer image are of the same release",
        answer=Answer.NEVER, test=_TEST,
    ),
    Fault(
        name="variables-overridden", topic=_TOPIC, fault="A variable of the contract holds what it must not",
        injected="OARLOCK_PROCESSES_PER_NODE=many",
        phase="Failed", reason="ConfigInvalid",
        message="pod <pod> on node <node>: OARLOCK_PROCESSES_PER_NODE must be a whole number of at least 1, got 'many'",
        remedy="see that no podTemplate overrides them", answer=Answer.NEVER, test=_TEST,
    ),
    Fault(
        name="status-port-taken", topic=_TOPIC, fault="Another process has the agent's status port",
        injected="a listener on that port",
        phase="Failed", reason="ConfigInvalid",
        message="the status port cannot be opened: <address>: Address already in use",
        remedy="with hostNetwork two pods on a node need different ones", answer=Answer.NEVER, test=_TEST,
    ),
)  # fmt: skip
