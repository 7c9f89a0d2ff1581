"""An operator that cannot work says what is missing, and ends."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
from kube.operator_process import OperatorProcess
from kube.scene import Object

from control_plane.server import ControlPlane
from oarlock_api.crd import SCHEMA_HASH_ANNOTATION

pytestmark = pytest.mark.kube

StartOperator = Callable[..., OperatorProcess]
DEFINITION = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/trainingjobs.oarlock.dev"


def make_account(control_plane: ControlPlane, namespace: str, rules: list[Object]) -> Path:
    """Return a kubeconfig of an account that holds these rights."""
    api, name = control_plane.api, "poor"
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    api.create(f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": name}})
    api.create(f"{rbac}/roles", {"metadata": {"name": name}, "rules": rules})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    subjects = [{"kind": "ServiceAccount", "name": name, "namespace": namespace}]
    api.create(f"{rbac}/rolebindings", {"metadata": {"name": name}, "roleRef": reference, "subjects": subjects})
    return control_plane.kubeconfig_for_service_account(namespace, name)


def test_missing_rights_are_named_one_by_one(
    control_plane: ControlPlane, namespace: str, start_operator: StartOperator
) -> None:
    every = ["get", "list", "watch", "create", "delete", "update", "patch"]
    rules = [
        {"apiGroups": ["oarlock.dev"], "resources": ["datasets", "datasets/status", "trainingjobs"], "verbs": every},
        {"apiGroups": [""], "resources": ["pods", "services", "persistentvolumeclaims"], "verbs": every[:4]},
    ]
    operator = start_operator(kubeconfig=make_account(control_plane, namespace, rules), wait=False)

    assert operator.wait_for_exit() == 1
    said = operator.read_log()
    assert "update trainingjobs/status.oarlock.dev" in said
    assert "delete pods" in said
    assert "create pods" not in said
    assert "Traceback" not in said


def test_older_definition_is_refused_by_the_field_that_it_lacks(
    control_plane: ControlPlane, start_operator: StartOperator
) -> None:
    served = control_plane.api.get(DEFINITION)
    older = copy.deepcopy(served)
    older["metadata"]["annotations"][SCHEMA_HASH_ANNOTATION] = "older"
    del older["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]["restarts"]
    _replace(control_plane, older)
    try:
        operator = start_operator(wait=False)
        assert operator.wait_for_exit() == 1
    finally:
        _replace(control_plane, served)

    assert "it lacks status.restarts" in operator.read_log()
    assert "Traceback" not in operator.read_log()


def test_operator_waits_for_an_api_server_that_is_not_there_yet(
    control_plane: ControlPlane, account: Path, start_operator: StartOperator
) -> None:
    with control_plane.flaky_network(account) as (network, kubeconfig):
        network.refuse()
        operator = start_operator(kubeconfig=kubeconfig, wait=False)
        while "waiting for the API server" not in operator.read_log():
            operator.check()
        network.restore()

        operator.wait_until_ready()


def test_setting_that_makes_no_sense_is_named(start_operator: StartOperator) -> None:
    operator = start_operator(settings={"RESYNC_SECONDS": "often"}, wait=False)

    assert operator.wait_for_exit() == 1
    assert "OARLOCK_OPERATOR_RESYNC_SECONDS must be of type float, got 'often'" in operator.read_log()


def _replace(control_plane: ControlPlane, definition: Object) -> None:
    version = control_plane.api.get(DEFINITION)["metadata"]["resourceVersion"]
    metadata = {**definition["metadata"], "resourceVersion": version}
    answer = control_plane.api.ask("PUT", DEFINITION, {**definition, "metadata": metadata})
    assert answer.ok, answer.body
