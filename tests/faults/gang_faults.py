"""Gangs that are handed over to a scheduler of PodGroups, which is not there, says nothing, or finds no room."""

from faults.fault import Answer, Fault

_TEST = "kube/test_pod_groups.py"
_TOPIC = "Gangs that another scheduler places"
_LOOK = "`kubectl describe podgroups.scheduling.volcano.sh <podgroup>` says where it stands"

GANG_FAULTS: tuple[Fault, ...] = (
    Fault(
        name="pod-groups-missing", topic=_TOPIC, fault="Volcano is not installed, and gangs are handed over to it",
        injected="The server does not know its PodGroup",
        phase="Queued", reason="PodGroupsMissing",
        message="gangs are handed over to Volcano, and the CustomResourceDefinition podgroups.scheduling.volcano.sh is not installed",
        remedy="Install Volcano, or have the administrator empty queue.podGroups of the chart",
        answer=Answer.WAITS, test=_TEST,
    ),
    Fault(
        name="group-scheduler-silent", topic=_TOPIC, fault="Nobody takes up the group: its scheduler does not run, or has another name",
        injected="A server with its PodGroup and without coscheduling",
        phase="Queued", reason="SchedulerSilent",
        message="scheduler scheduler-plugins-scheduler has said nothing of PodGroup <podgroup> and its pods since <time>",
        remedy="Check that it runs, and that queue.schedulerName of the chart is its name",
        answer=Answer.WAITS, test="kube/test_rights.py",
    ),
    Fault(
        name="group-without-room", topic=_TOPIC, fault="There is no room for the whole group",
        injected="The condition of a PodGroup as Volcano writes it",
        phase="Queued", reason="QueuedByVolcano",
        message="Volcano holds all 2 pods, <pod> first, back until there is room for the whole gang in queue team-a: PodGroup"
        " <podgroup> is Inqueue: <its words>",
        remedy=_LOOK, answer=Answer.WAITS, test=_TEST,
    ),
)  # fmt: skip
