"""Ranks that do not move: named while they may still go on, and once they count as hung."""

from faults.fault import Answer, Fault

_TEST = "faults/test_trainer_faults.py"
_TOPIC = "Ranks that do not move"
_DEADLINE = "runPolicy.progressDeadlineSeconds"
_SLOW = "if the phase is only slow, raise runPolicy.progressDeadlineSeconds"

HANG_FAULTS: tuple[Fault, ...] = (
    Fault(
        name="rank-stopped", topic=_TOPIC, fault="A rank is stopped (SIGSTOP); the other waits for it",
        injected="the rank sends it to itself; the deadline is ten minutes",
        phase="Training", reason="Stalled",
        message="rank 1 (pod <pod> on node <node>) has not moved since <time> in phase Training after step 5; it counts as hung at"
        " <time>; its process is stopped, by SIGSTOP or a debugger",
        remedy="let it go on (SIGCONT), or see who stopped it", answer=Answer.GOES_ON, test=_TEST,
    ),
    Fault(
        name="rank-stuck-in-code", topic=_TOPIC, fault="A rank hangs in code of the user; the other waits for it in a collective",
        injected="the rank sleeps; the deadline is ten minutes",
        phase="Training", reason="Stalled",
        message="rank 1 (pod <pod> on node <node>) has not moved since <time> in phase Training after step 5; it counts as hung at"
        " <time>; it is in code of its own (<file and line> in hang_in_user_code)",
        remedy="see there whether it waits for something", answer=Answer.GOES_ON, test=_TEST,
    ),
    Fault(
        name="rank-stopped-too-long", topic=_TOPIC, fault="A rank stays stopped",
        injected="SIGSTOP, with a deadline of 8 s",
        phase="Restarting", reason="Hung",
        message="pod <pod> on node <node>: Rank 1 (node rank 1, process <pid>) made no progress for <n> s in phase Training after"
        " step 5; its process is stopped, by SIGSTOP or a debugger",
        remedy="see who stopped it: a debugger, or an administrator on the node", answer=Answer.WINDOWED, test=_TEST,
        clock=_DEADLINE,
    ),
    Fault(
        name="rank-hung-in-code", topic=_TOPIC, fault="A rank hangs for good in code of the user; the other, a victim, is not blamed",
        injected="the rank sleeps, with a deadline of 8 s",
        phase="Restarting", reason="Hung",
        message="pod <pod> on node <node>: Rank 1 (node rank 1, process <pid>) made no progress for <n> s in phase Training after"
        " step 5; it is in code of its own (<file and line> in hang_in_user_code)",
        remedy=f"the stack of the hung process is in the detail; {_SLOW}", answer=Answer.WINDOWED, test=_TEST, clock=_DEADLINE,
    ),
    Fault(
        name="rank-hung-in-validation", topic=_TOPIC, fault="A rank hangs in validation",
        injected="the rank sleeps, with a deadline of 8 s",
        phase="Restarting", reason="Hung",
        message="Rank 1 (node rank 0, process <pid>) made no progress for <n> s in phase Validating after step 5",
        remedy=_SLOW, answer=Answer.WINDOWED, test=_TEST, clock=_DEADLINE,
    ),
    Fault(
        name="rank-hung-in-checkpoint", topic=_TOPIC, fault="The checkpoint volume takes nothing and refuses nothing",
        injected="the rank writes to a pipe that nobody reads, with a deadline of 8 s",
        phase="Restarting", reason="Hung",
        message="Rank 1 (node rank 0, process <pid>) made no progress for <n> s in phase Checkpointing after step 5; <where>"
        " in hang_in_checkpoint",
        remedy=_SLOW, answer=Answer.WINDOWED, test=_TEST, clock=_DEADLINE,
    ),
    Fault(
        name="data-worker-stopped", topic=_TOPIC, fault="A data worker of a rank is stopped; the rank waits for it",
        injected="SIGSTOP to a child of the rank, with a deadline of 8 s",
        phase="Restarting", reason="Hung",
        message="Rank 1 (node rank 0, process <pid>) made no progress for <n> s in phase Training after step 5; a process that it"
        " started is stopped, by SIGSTOP or a debugger",
        remedy="see who stopped it", answer=Answer.WINDOWED, test=_TEST, clock=_DEADLINE,
    ),
    Fault(
        name="ranks-wait-for-each-other", topic=_TOPIC, fault="All ranks of two nodes wait in a collective: the network lost something",
        injected="both ranks wait as in a collective, with a deadline of 8 s",
        phase="Restarting", reason="CollectiveFailed",
        message="made no progress for <n> s in phase Training after step 5; it waits for other ranks in a collective operation"
        " (<file and line> in all_reduce)",
        remedy="if there is none, the network between nodes is at fault", answer=Answer.WINDOWED, test=_TEST, clock=_DEADLINE,
    ),
    Fault(
        name="node-cut-off", topic=_TOPIC, fault="A node is cut off while it trains: no connection is closed",
        injected="two agents on networks of their own, with a switch between them; a cable is pulled; the deadline is 20 s",
        phase="Restarting", reason="CollectiveFailed",
        message="made no progress for <n> s in phase <phase> after step <n>; it waits for other ranks in a collective operation"
        "<place>. Nothing answers at node rank <n> (pod <pod>, <address>) with rank <n>",
        remedy="see whether that node is up and reaches the others", answer=Answer.WINDOWED,
        test="agent/test_cut_off_node.py", clock=_DEADLINE,
    ),
    Fault(
        name="torchrun-hung", topic=_TOPIC, fault="torchrun itself never starts a rank",
        injected="a launcher that sleeps, with a deadline of 8 s",
        phase="Restarting", reason="Hung",
        message="pod <pod> on node <node>: torchrun made no progress for <n> s in phase Starting",
        remedy="read the log of this attempt on the checkpoint volume", answer=Answer.WINDOWED, test=_TEST, clock=_DEADLINE,
    ),
)  # fmt: skip
