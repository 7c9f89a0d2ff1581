import copy
import logging
from typing import Any

import pytest

from oarlock_api.crd import SCHEMA_HASH_ANNOTATION, dataset_crd, training_job_crd
from oarlock_operator.cluster.definitions import check_definition
from oarlock_operator.cluster.port import Object
from oarlock_operator.errors import StartError


def older(definition: Object) -> Object:
    changed = copy.deepcopy(definition)
    changed["metadata"]["annotations"][SCHEMA_HASH_ANNOTATION] = "older"
    return changed


def properties(definition: Object, *path: str) -> dict[str, Any]:
    node = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for part in path:
        node = node["properties"][part]
    found: dict[str, Any] = node["properties"]
    return found


@pytest.mark.parametrize("definition", [dataset_crd(), training_job_crd()], ids=["datasets", "trainingjobs"])
def test_definition_is_accepted_when_it_is_our_own(definition: Object) -> None:
    check_definition(definition, copy.deepcopy(definition))


def test_definition_is_refused_by_field_when_it_would_lose_counters() -> None:
    served = older(training_job_crd())
    del properties(served, "status")["restarts"]
    del properties(served, "spec", "workers")["elastic"]

    with pytest.raises(StartError) as refusal:
        check_definition(training_job_crd(), served)

    assert all(word in str(refusal.value) for word in ("status.restarts", "spec.workers.elastic", "kubectl apply"))


def test_definition_is_refused_when_items_of_a_list_lack_a_field() -> None:
    served = older(training_job_crd())
    del properties(served, "status")["failures"]["items"]["properties"]["podUid"]

    with pytest.raises(StartError, match=r"status\.failures\[\]\.podUid"):
        check_definition(training_job_crd(), served)


def test_definition_is_accepted_with_a_warning_when_it_knows_more(caplog: pytest.LogCaptureFixture) -> None:
    served = older(dataset_crd())
    properties(served, "status")["invention"] = {"type": "string"}

    with caplog.at_level(logging.WARNING):
        check_definition(dataset_crd(), served)

    assert "has all fields that are needed" in caplog.text


def test_definition_is_refused_when_it_does_not_serve_our_version() -> None:
    served = older(dataset_crd())
    served["spec"]["versions"][0]["name"] = "v1"

    with pytest.raises(StartError, match="does not serve version v1alpha1"):
        check_definition(dataset_crd(), served)
