"""Which nodes pods may use, as the scheduler decides it."""

from typing import Any

import pytest
from queueing.queue_states import GPU, make_node

from oarlock_operator.queueing.placement import Placement, read_placement, why_not
from oarlock_operator.reconcile.observed import Taint

LABELS = {"zone": "b", "size": "10"}
DEDICATED = Taint(key="dedicated", value="nlp", effect="NoSchedule")


def affinity(*terms: dict[str, Any]) -> dict[str, Any]:
    required = {"nodeSelectorTerms": list(terms)}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}}


def expression(operator: str, *values: str, key: str = "zone") -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("template", "fits"),
    [
        ({}, True),
        ({"nodeSelector": {"zone": "b"}}, True),
        ({"nodeSelector": {"zone": "c"}}, False),
        (affinity(expression("In", "a", "b")), True),
        (affinity(expression("In", "a")), False),
        (affinity(expression("In", "a"), expression("Exists")), True),
        (affinity(expression("NotIn", "b")), False),
        (affinity(expression("NotIn", "b", key="other")), True),
        (affinity(expression("DoesNotExist")), False),
        (affinity(expression("Gt", "9", key="size")), True),
        (affinity(expression("Lt", "9", key="size")), False),
        (affinity(expression("Gt", "nine", key="size")), False),
        (affinity({}), False),
        (affinity({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}), True),
        (affinity({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n2"]}]}), False),
        ({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{}]}}}, True),
        ({"affinity": "nonsense", "tolerations": 3}, True),
    ],
)
def test_labels_decide_as_the_scheduler_does(template: dict[str, Any], fits: bool) -> None:  # noqa: FBT001
    said = why_not(read_placement(template), make_node(labels=LABELS), resources=[GPU])

    assert (said == "") == fits


def test_nodes_that_the_job_avoids_do_not_count() -> None:
    labels = {"kubernetes.io/hostname": "n2"}
    assert why_not(Placement(avoided=("n1",)), make_node(labels=labels), resources=[GPU]) == "avoided after failures"
    assert why_not(Placement(avoided=("n2",)), make_node(labels=labels), resources=[GPU]) == ""


@pytest.mark.parametrize(
    ("tolerations", "taint", "fits"),
    [
        ([], DEDICATED, False),
        ([{"key": "dedicated", "value": "nlp"}], DEDICATED, True),
        ([{"key": "dedicated", "value": "vision"}], DEDICATED, False),
        ([{"key": "dedicated", "operator": "Exists", "effect": "NoExecute"}], DEDICATED, False),
        ([{"operator": "Exists"}], DEDICATED, True),
        ([], Taint(key="dedicated", effect="PreferNoSchedule"), True),
        ([], Taint(key=GPU, value="present", effect="NoSchedule"), True),
    ],
)
def test_taints_decide_as_the_scheduler_does(tolerations: list[dict[str, str]], taint: Taint, fits: bool) -> None:  # noqa: FBT001
    placement = read_placement({"tolerations": tolerations})

    said = why_not(placement, make_node(taints=(taint,)), resources=[GPU])

    assert said == ("" if fits else f"tainted with {taint}")
