"""Why no node takes a pod: which resource is short and where what is free, whose taint, which label, which claim. Pure."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from oarlock_operator.policy.amounts import format_amount
from oarlock_operator.policy.bounds import clip
from oarlock_operator.policy.causes import OperatorCause
from oarlock_operator.policy.rooms import (
    describe_free,
    find_open,
    find_taints,
    largest,
    name_nodes,
    select_nodes,
    sum_requests,
)
from oarlock_operator.policy.scheduler_words import Hindrance, Obstacle, read_scheduler
from oarlock_operator.policy.volumes import explain_claims, explain_pending_claim
from oarlock_operator.policy.wait import MAX_SAID, Surroundings, Wait
from oarlock_operator.reconcile.observed import ObservedNode, ObservedPod

_CLAIM_TROUBLE = re.compile(
    r'persistentvolumeclaim "(?P<name>[^"]+)" (?:not found|is being deleted)|unbound immediate P'
)
"""What the scheduler says of volumes: more nodes would not help."""
_FIELDS = {"cpu": "workers.resources.cpu", "memory": "workers.resources.memory"}


def explain_unscheduled(pod: ObservedPod, around: Surroundings) -> Wait | None:
    """Return why a pod has no node; None if the scheduler has said nothing yet."""
    if wait := explain_claims(around.claims):
        return wait
    if said := _CLAIM_TROUBLE.search(pod.unschedulable):
        return _explain_claim_trouble(pod, said["name"], around)
    if not pod.unschedulable:
        return None
    obstacles = read_scheduler(pod.unschedulable)
    if not obstacles:
        return _wait(f"no node for pod {pod.name}: {clip(pod.unschedulable.rstrip('.'), MAX_SAID)}. {_FREE_NODES}")
    found = sorted(_keep_relevant(obstacles, around), key=_relevance)
    findings = [_FINDINGS[obstacle.kind](obstacle, around) for obstacle in found]
    return _wait(f"no node for pod {pod.name}: {'; '.join(findings)}. {_REMEDIES[found[0].kind](found[0], around)}")


def _relevance(obstacle: Obstacle) -> tuple[int, bool]:
    """Return the place of an obstacle in a message: of what is short, devices before cores."""
    return list(Hindrance).index(obstacle.kind), "/" not in obstacle.detail


def _keep_relevant(obstacles: list[Obstacle], around: Surroundings) -> list[Obstacle]:
    """Leave out obstacles on nodes that nodeSelector leaves out anyway, as far as nodes may be read."""
    selected = select_nodes(around.rooms, around.pod_spec)
    if not around.rooms or not around.pod_spec.get("nodeSelector"):
        return obstacles
    if not selected:
        return [Obstacle(len(around.rooms), Hindrance.SELECTOR, "")]
    nodes = [room.node for room in selected]
    counts = {
        Hindrance.SELECTOR: 0,
        Hindrance.CORDONED: sum(node.is_cordoned for node in nodes),
        Hindrance.NOT_READY: sum(not node.is_ready for node in nodes),
    }
    for each in obstacles:
        if each.kind is Hindrance.TAINTED:
            counts[Hindrance.TAINTED] = sum(_has_taint(node, each.detail) for node in nodes)
    kept = [replace(each, nodes=counts.get(each.kind, each.nodes)) for each in obstacles]
    return [each for each in kept if each.nodes] or obstacles


def _has_taint(node: ObservedNode, detail: str) -> bool:
    return any(f"{taint.key}={taint.value}".rstrip("=") == detail for taint in node.taints)


def _wait(message: str) -> Wait:
    return Wait(reason="Unschedulable", message=message, cause=OperatorCause.UNSCHEDULABLE)


def _explain_claim_trouble(pod: ObservedPod, claim: str | None, around: Surroundings) -> Wait:
    if claim is None:
        pending = [wait for each in around.claims.values() if (wait := explain_pending_claim(each))]
        if pending:
            return pending[0]
    remedy = (
        f"Restore claim {claim} if its data is needed: the pod starts once it is there. Where Oarlock creates the claim and"
        " nothing is on it yet, it does so by itself"
        if claim
        else "Check that the claims of this pod can be bound: their StorageClass, access modes and size"
    )
    return Wait(
        reason="ClaimMissing" if claim else "ClaimPending",
        message=f"no node for pod {pod.name}: {clip(pod.unschedulable.rstrip('.'), MAX_SAID)}. {remedy}",
        cause=OperatorCause.UNSCHEDULABLE,
    )


def _count(nodes: int) -> str:
    return f"{nodes} node" if nodes == 1 else f"{nodes} nodes"


def _have(nodes: int) -> str:
    return f"{_count(nodes)} {'has' if nodes == 1 else 'have'}"


def _are(nodes: int) -> str:
    return f"{_count(nodes)} {'is' if nodes == 1 else 'are'}"


def _find_shortage(obstacle: Obstacle, around: Surroundings) -> str:
    resource = obstacle.detail
    asked = sum_requests(around.pod_spec).get(resource)
    needs = f"it needs {format_amount(resource, asked)} {resource}" if asked else f"it needs {resource}"
    free = describe_free(find_open(around.rooms, around.pod_spec), resource)
    return f"{needs}; free: {free}" if free else f"{needs}, and {_have(obstacle.nodes)} too little free"


def _find_taint(obstacle: Obstacle, around: Surroundings) -> str:
    tolerations = around.pod_spec.get("tolerations") or ()
    tainted = [
        room
        for room in select_nodes(around.rooms, around.pod_spec)
        if _has_taint(room.node, obstacle.detail) and find_taints(room.node, tolerations)
    ]
    who = f" ({name_nodes(tainted)})" if tainted else ""
    return f"{_have(obstacle.nodes)} an untolerated taint {obstacle.detail}{who}"


def _find_cordoned(obstacle: Obstacle, around: Surroundings) -> str:
    cordoned = [room for room in select_nodes(around.rooms, around.pod_spec) if room.node.is_cordoned]
    who = f" ({name_nodes(cordoned)})" if cordoned else ""
    return f"{_are(obstacle.nodes)} cordoned{who}"


def _find_unready(obstacle: Obstacle, around: Surroundings) -> str:
    unready = [room for room in select_nodes(around.rooms, around.pod_spec) if not room.node.is_ready]
    who = f" ({name_nodes(unready)})" if unready else ""
    return f"{_are(obstacle.nodes)} not ready{who}"


def _find_unlabelled(obstacle: Obstacle, around: Surroundings) -> str:
    asked = _describe_selector(around.pod_spec)
    return f"{_have(obstacle.nodes)} not the labels that {asked} asks for"


def _describe_selector(pod_spec: Mapping[str, object]) -> str:
    selector = pod_spec.get("nodeSelector")
    if isinstance(selector, Mapping) and selector:
        return "podTemplate.nodeSelector " + ", ".join(f"{key}={value}" for key, value in sorted(selector.items()))
    return "podTemplate.affinity"


def _name_cordoned(around: Surroundings) -> str:
    selected = select_nodes(around.rooms, around.pod_spec)
    return next((room.node.name for room in selected if room.node.is_cordoned), "NODE")


Say = Callable[[Obstacle, Surroundings], str]

_FINDINGS: Mapping[Hindrance, Say] = {
    Hindrance.SHORT: _find_shortage,
    Hindrance.TAINTED: _find_taint,
    Hindrance.CORDONED: _find_cordoned,
    Hindrance.NOT_READY: _find_unready,
    Hindrance.SELECTOR: _find_unlabelled,
    Hindrance.AFFINITY: lambda each, _: f"{_have(each.nodes)} pods that podTemplate's affinity or spread rules out",
    Hindrance.PORTS: lambda each, _: f"{_have(each.nodes)} a pod that holds the same host port",
    Hindrance.FULL: lambda each, _: f"{_have(each.nodes)} as many pods as they take",
    Hindrance.ZONE: lambda each, _: f"{_are(each.nodes)} where a volume of the pod cannot be used",
    Hindrance.VOLUME: lambda each, _: f"{_have(each.nodes)} no volume for a claim of the pod: {each.detail}",
    Hindrance.OTHER: lambda each, _: f"{_count(each.nodes)}: {clip(each.detail, MAX_SAID)}",
}

_FREE_NODES = "Free or add nodes, or ask for less in workers.resources"


def _remedy_shortage(obstacle: Obstacle, around: Surroundings) -> str:
    resource = obstacle.detail
    field = _FIELDS.get(resource, "workers.gpusPerNode" if "/" in resource else "workers.resources")
    asked = sum_requests(around.pod_spec).get(resource, 0.0)
    most = largest(find_open(around.rooms, around.pod_spec), resource)
    if around.rooms and asked > most:
        return f"No node that takes the pod has more than {format_amount(resource, most)} {resource}: lower {field}, or add larger nodes"
    return f"It starts once as much is free on one node. Add nodes, or lower {field}"


_REMEDIES: Mapping[Hindrance, Say] = {
    Hindrance.SHORT: _remedy_shortage,
    Hindrance.TAINTED: lambda each, _: (
        f"If the pods may run there, add a toleration of {each.detail} to podTemplate.tolerations"
    ),
    Hindrance.CORDONED: lambda _, around: (
        f"Let pods on it again with `kubectl uncordon {_name_cordoned(around)}`, or add nodes"
    ),
    Hindrance.NOT_READY: lambda _each, _: "See to the kubelet of the node, or add nodes",
    Hindrance.SELECTOR: lambda _, around: f"Correct {_describe_selector(around.pod_spec)}, or label a node so",
    Hindrance.AFFINITY: lambda _each, _: "Relax podTemplate.affinity or topologySpreadConstraints, or add nodes",
    Hindrance.PORTS: lambda _each, _: "Add nodes, or let the other pod end",
    Hindrance.FULL: lambda _each, _: "Add nodes, or let other pods end",
    Hindrance.ZONE: lambda _each, _: (
        "Let nodes be where the volume is, or use a StorageClass with volumeBindingMode WaitForFirstConsumer for new claims"
    ),
    Hindrance.VOLUME: lambda _each, _: "Check the claims of this pod: their StorageClass, access modes and size",
    Hindrance.OTHER: lambda _each, _: _FREE_NODES,
}
