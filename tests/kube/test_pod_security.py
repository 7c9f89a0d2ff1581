"""Our pods in a namespace that demands the restricted Pod Security Standard, where the server can."""

from typing import Any

import pytest
from manifests.manifest_cases import cases

from control_plane.features import Feature
from control_plane.server import ControlPlane

pytestmark = pytest.mark.kube

PODS = [
    pytest.param(manifest, id=f"{case}-{manifest['metadata']['name']}")
    for case, manifests in cases().items()
    for manifest in manifests
    if manifest["kind"] == "Pod"
]


@pytest.fixture(scope="module")
def restricted(control_plane: ControlPlane) -> str:
    if Feature.POD_SECURITY not in control_plane.features:
        pytest.skip(f"NOT RUN: Kubernetes {control_plane.version} has no Pod Security admission")
    namespace = control_plane.create_namespace("restricted")
    labels = {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"}
    control_plane.api.patch(f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": labels}})
    return namespace


def try_to_create(control_plane: ControlPlane, pod: dict[str, Any], namespace: str) -> Any:
    """Ask without creating it; the account that a template may name, and the class, are not there."""
    spec = {key: value for key, value in pod["spec"].items() if not key.endswith(("AccountName", "ClassName"))}
    moved = {**pod, "metadata": {**pod["metadata"], "namespace": namespace}, "spec": spec}
    return control_plane.api.ask("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", moved)


@pytest.mark.parametrize("pod", PODS)
def test_pod_is_admitted_where_the_restricted_standard_is_demanded(
    control_plane: ControlPlane, restricted: str, pod: dict[str, Any]
) -> None:
    answer = try_to_create(control_plane, pod, restricted)

    assert answer.ok, answer.body


def test_pod_with_more_is_refused_there(control_plane: ControlPlane, restricted: str) -> None:
    pod = PODS[0].values[0]
    answer = try_to_create(control_plane, {**pod, "spec": {**pod["spec"], "hostNetwork": True}}, restricted)

    assert not answer.ok
    assert "restricted" in str(answer.body)
