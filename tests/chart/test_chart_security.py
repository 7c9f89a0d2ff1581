"""What the chart does for security: its pods, its lists for pod overlays, its network policies, and a schema without gaps."""

import functools
import json
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest
from chart.releases import CHART, RELEASE, helm, render
from manifests.pod_security import find_violations

from oarlock_operator import names
from oarlock_operator.settings import Settings

OVERLAYS = {
    "serviceAccounts": "allowed_service_accounts",
    "runtimeClasses": "allowed_runtime_classes",
    "priorityClasses": "allowed_priority_classes",
    "images": "allowed_images",
    "volumeKinds": "allowed_volume_kinds",
    "annotations": "allowed_annotations",
    "labels": "allowed_labels",
    "deviceVariables": "allowed_device_variables",
}


@functools.cache
def render_lean(*values: str) -> list[dict[str, Any]]:
    """Return what the chart renders beside its definitions, which take long to read and are not the topic."""
    return render("crds.enabled=false", *values)


def find_pods(manifests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the pod templates of all workloads."""
    return [manifest["spec"]["template"] for manifest in manifests if manifest["kind"] in ("Deployment", "Job")]


def read_settings(*values: str) -> Settings:
    [deployment] = [manifest for manifest in render_lean(*values) if manifest["kind"] == "Deployment"]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    return Settings.from_environment({variable["name"]: variable["value"] for variable in container["env"]})


@pytest.mark.parametrize(
    "values", [(), ("userId=0",), ("userId=1234",), ("leaderElection.enabled=false", "replicas=1")]
)
def test_all_pods_of_the_chart_are_restricted_and_cannot_write_to_their_images(values: tuple[str, ...]) -> None:
    pods = find_pods(render_lean(*values))

    assert pods
    for pod in pods:
        assert find_violations(pod) == []
        assert pod["spec"]["automountServiceAccountToken"] is True
        for container in pod["spec"]["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_only_pods_that_ask_for_it_get_the_operator_s_token() -> None:
    [account] = [manifest for manifest in render_lean() if manifest["kind"] == "ServiceAccount"]

    assert account["automountServiceAccountToken"] is False


@pytest.mark.parametrize(("value", "fixed"), [("65532", True), ("0", False)])
def test_user_is_fixed_unless_the_platform_assigns_one(value: str, fixed: bool) -> None:  # noqa: FBT001
    for pod in find_pods(render_lean(f"userId={value}")):
        assert ("runAsUser" in pod["spec"]["securityContext"]) is fixed
    assert read_settings(f"userId={value}").pod_user == int(value)


def test_lists_for_overlays_are_as_closed_as_the_settings_when_nothing_is_set() -> None:
    shipped, defaults = read_settings(), Settings()

    assert {field.name for field in fields(Settings) if field.name.startswith("allowed_")} == set(OVERLAYS.values())
    for setting in OVERLAYS.values():
        assert getattr(shipped, setting) == getattr(defaults, setting)


def test_lists_for_overlays_reach_the_operator() -> None:
    written = {value: ["claim", "secret"] if value == "volumeKinds" else [value, "two.example/*"] for value in OVERLAYS}

    found = read_settings(*(f"podOverlays.{value}={{{','.join(entries)}}}" for value, entries in written.items()))

    for value, setting in OVERLAYS.items():
        assert getattr(found, setting) == ",".join(written[value])


def find_policies(*values: str) -> dict[str, dict[str, Any]]:
    rendered = render_lean("networkPolicy.enabled=true", *values)
    policies = [manifest for manifest in rendered if manifest["kind"] == "NetworkPolicy"]
    return {policy["metadata"]["namespace"]: policy["spec"] for policy in policies}


def test_network_policies_are_made_only_when_they_are_asked_for() -> None:
    assert not [manifest for manifest in render_lean() if manifest["kind"] == "NetworkPolicy"]
    assert set(find_policies()) == {"oarlock-system"}
    assert set(find_policies("watchNamespace=team")) == {"oarlock-system", "team"}
    assert set(find_policies("networkPolicy.trainerNamespaces={a,b}")) == {"oarlock-system", "a", "b"}


def test_trainers_hear_each_other_and_the_operator_alone() -> None:
    policy = find_policies("watchNamespace=team")["team"]
    among_themselves, from_outside = policy["ingress"]
    labels = {names.MANAGED_BY_LABEL: names.MANAGED_BY}

    assert policy["podSelector"]["matchLabels"] == labels
    assert policy["podSelector"]["matchExpressions"] == [{"key": names.ROLE_LABEL, "operator": "Exists"}]
    assert among_themselves == {"from": [{"podSelector": policy["podSelector"]}]}
    [operator] = from_outside["from"]
    assert operator["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "oarlock-system"}
    assert from_outside["ports"] == [{"port": 8470, "protocol": "TCP"}]
    assert "169.254.0.0/16" in policy["egress"][0]["to"][1]["ipBlock"]["except"]


def test_operator_is_asked_by_probes_and_by_those_who_read_metrics() -> None:
    closed = find_policies()["oarlock-system"]
    watched = find_policies("networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.team=monitoring")

    assert [rule["ports"][0]["port"] for rule in closed["ingress"]] == ["probes"]
    assert [rule["ports"][0]["port"] for rule in watched["oarlock-system"]["ingress"]] == ["probes", "metrics"]
    assert closed["egress"][1]["to"][0]["podSelector"]["matchLabels"] == {names.MANAGED_BY_LABEL: names.MANAGED_BY}


OPEN = {"global", "requests", "limits", "podSelector", "namespaceSelector", "ipBlock", "affinity", "items"}
"""Objects of Kubernetes' own, which the API server checks."""


def find_objects(schema: Any, name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield name, schema
        for key, value in schema.items():
            yield from find_objects(value, key)


def test_schema_of_the_values_is_closed_and_knows_every_value() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    assert [
        name for name, each in find_objects(schema) if "additionalProperties" not in each and name not in OPEN
    ] == []


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("userId=-1", "userId"),
        ("podOverlays.volumeKinds={hostPath}", "volumeKinds"),
        ("podOverlays.images={a\\,b}", "images"),
        ("podOverlays.capabilities={SYS_ADMIN}", "capabilities"),
        ("networkPolicy.metricsFrom[0].port=1", "metricsFrom"),
        ("imagePullSecrets[0].nam=x", "imagePullSecrets"),
        ("resources.request.cpu=1", "resources"),
    ],
)
def test_value_that_would_open_more_is_refused_by_name(value: str, says: str) -> None:
    refused = helm("template", RELEASE, str(CHART), "--set", value)

    assert refused.returncode != 0
    assert says in refused.stderr
