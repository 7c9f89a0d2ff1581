"""Nodes that do not find one another."""

from faults.fault import Answer, Fault

_TEST = "faults/test_trainer_faults.py"
_TOPIC = "Rendezvous"

MEETING_FAULTS: tuple[Fault, ...] = (
    Fault(
        name="name-unknown", topic=_TOPIC, fault="The name of node 0 does not resolve (DNS, a deleted Service)",
        injected="a name that does not exist",
        phase="Rendezvous", reason="RendezvousNameUnknown",
        message="Rendezvous 1 of 2: waiting for node rank 1 (pod <pod> on node <node>). Rank 1 finds no address for"
        " r0-a0.nowhere.invalid:<port>",
        remedy="Check that DNS answers in this namespace, that no NetworkPolicy forbids port 53, and that the job's Service exists",
        answer=Answer.WAITS, test=_TEST,
    ),
    Fault(
        name="node-zero-unreachable", topic=_TOPIC, fault="Nothing comes back from node 0 (a NetworkPolicy, a broken network)",
        injected="an address at which connections are never accepted",
        phase="Rendezvous", reason="RendezvousUnreachable",
        message="Rendezvous 1 of 2: waiting for node rank 1 (pod <pod> on node <node>). Rank 1 gets no answer from <endpoint> in pod"
        " <pod> on node <node>",
        remedy="Check that a NetworkPolicy lets the pods of this job reach one another on all ports",
        answer=Answer.WAITS, test=_TEST,
    ),
    Fault(
        name="node-zero-not-listening", topic=_TOPIC, fault="Node 0 has an address, but its torchrun does not listen",
        injected="a launcher on node 0 that sleeps",
        phase="Rendezvous", reason="RendezvousRefused",
        message="Rendezvous 0 of 2: waiting for node ranks 0 (pod <pod> on node <node>), 1 (pod <pod> on node <node>). Nobody listens"
        " at <endpoint>",
        remedy="See the log of pod <pod> on node <node>: its torchrun has not started, or has ended", answer=Answer.WAITS, test=_TEST,
    ),
    Fault(
        name="rendezvous-port-taken", topic=_TOPIC, fault="Another process has the rendezvous port on node 0's host",
        injected="a listener on that port",
        phase="Restarting", reason="RendezvousFailed",
        message="Node rank 0 of 2 nodes did not join the others<what it saw>torchrun says: The server socket has failed to listen",
        remedy="with hostNetwork, pods on one node share their ports, so <what to do> them", answer=Answer.WINDOWED, test=_TEST,
    ),
    Fault(
        name="node-silent", topic=_TOPIC, fault="One node of three is cut off: neither it nor its agent is heard",
        injected="a pod in which nothing runs",
        phase="Rendezvous", reason="AgentSilent",
        message="Rendezvous 2 of 3: waiting for node rank 2 (pod <pod> on node <node>). Its agent does not answer, those of others do",
        remedy="See whether the node is overloaded or cut off, and the pod's log", answer=Answer.WAITS, test=_TEST,
    ),
    Fault(
        name="nodes-never-meet", topic=_TOPIC, fault="A node does not come within the join timeout",
        injected="one node of two, with a timeout of 2 s",
        phase="Restarting", reason="RendezvousFailed",
        message="Node rank 0 of 2 nodes did not join the others; torchrun says: Timed out after <n> seconds waiting for clients. 1/2",
        remedy="one of them does not run, has ended, or is cut off by a NetworkPolicy", answer=Answer.WINDOWED, test=_TEST,
        clock="four fifths of runPolicy.startupDeadlineSeconds",
    ),
    Fault(
        name="ranks-do-not-connect", topic=_TOPIC, fault="All nodes meet, but their processes do not connect (a NetworkPolicy for one port)",
        injected="ranks that stay in the phase in which they connect",
        phase="Rendezvous", reason="Joining",
        message="Rendezvous 2 of 2: all nodes have joined; the ranks still connect to one another",
        remedy="check that a NetworkPolicy lets the pods of this job reach one another on all ports", answer=Answer.WAITS, test=_TEST,
    ),
)  # fmt: skip
