"""The chart: what it renders, and that a real helm installs it into a real API server."""

import subprocess
from typing import Any

import pytest
from chart.releases import CHART, RELEASE, helm, install, render, uninstall

from control_plane.server import ControlPlane
from control_plane.tools import kubectl_path
from oarlock_operator.cluster.permissions import Right, lease_rights, needed_rights, pod_group_rights
from oarlock_operator.manifests.pod_groups import find_group_scheduler
from oarlock_operator.settings import Settings

OPTIONAL = {"events", "nodes", "customresourcedefinitions"}
"""What the operator uses if it may, and does without if not."""


def by_kind(manifests: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def granted(roles: list[dict[str, Any]]) -> set[str]:
    return {
        f"{verb} {resource}"
        for role in roles
        for rule in role["rules"]
        for verb in rule["verbs"]
        for resource in rule["resources"]
    }


def name_right(right: Right) -> str:
    return f"{right.verb} {right.resource}{f'/{right.subresource}' if right.subresource else ''}"


def test_helm_finds_nothing_wrong_when_it_lints_the_chart() -> None:
    linted = helm("lint", "--strict", str(CHART))

    assert linted.returncode == 0, linted.stdout


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("replica=2", "replica"),
        ("replicas=two", "replicas"),
        ("trainer.gpusPerNode=-1", "gpusPerNode"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("extraEnv.PATH=x", "extraEnv"),
        ("queue.enabled=sometimes", "enabled"),
        ("queue.budget=many", "budget"),
        ("queue.podGroups=slurm", "podGroups"),
        ("queue.schedulerName=gangs", "names the scheduler of queue.podGroups"),
        ("queue.podGroups=volcano,queue.enabled=true", "queue.podGroups hands all jobs over"),
        ("leaderElection.enabled=false", "replicas must be 1"),
    ],
)
def test_a_typo_in_a_value_is_refused_by_name(value: str, says: str) -> None:
    refused = helm("template", RELEASE, str(CHART), "--set", value)

    assert refused.returncode != 0
    assert says in refused.stderr


def test_definitions_are_kept_when_the_chart_is_uninstalled_unless_a_value_says_otherwise() -> None:
    kept = by_kind(render(), "CustomResourceDefinition")
    lost = by_kind(render("crds.keep=false"), "CustomResourceDefinition")

    assert {crd["metadata"]["name"] for crd in kept} == {"datasets.oarlock.dev", "trainingjobs.oarlock.dev"}
    assert all(crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep" for crd in kept)
    assert not any("helm.sh/resource-policy" in crd["metadata"]["annotations"] for crd in lost)
    assert by_kind(render("crds.enabled=false"), "CustomResourceDefinition") == []


def test_the_account_may_do_what_the_operator_needs_and_nothing_else() -> None:
    rights = granted(by_kind(render(), "ClusterRole"))
    needed = {name_right(right) for right in needed_rights()}

    assert needed <= rights
    assert {right for right in rights - needed if right.split(" ")[1] not in OPTIONAL} == set()
    assert not any("secrets" in right or "*" in right for right in rights)


def test_no_right_goes_beyond_the_namespace_when_one_is_watched() -> None:
    manifests = render("watchNamespace=team-a")

    assert by_kind(manifests, "ClusterRole") == by_kind(manifests, "ClusterRoleBinding") == []
    assert {role["metadata"]["namespace"] for role in by_kind(manifests, "Role")} == {"team-a", "oarlock-system"}


def test_account_may_write_one_lease_and_nothing_else_beside_the_operator() -> None:
    [role] = by_kind(render(), "Role")
    named, unnamed = role["rules"]

    assert role["metadata"]["namespace"] == "oarlock-system"
    assert granted([role]) == {name_right(right) for right in lease_rights(RELEASE)}
    assert (named["resourceNames"], unnamed["verbs"]) == ([RELEASE], ["create"])
    assert by_kind(render("leaderElection.enabled=false", "replicas=1"), "Role") == []


def test_replicas_spread_and_hand_over_when_they_elect_a_leader() -> None:
    [deployment] = by_kind(render(), "Deployment")
    [budget] = by_kind(render(), "PodDisruptionBudget")
    pod = deployment["spec"]["template"]
    [term] = pod["spec"]["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]

    assert (deployment["spec"]["replicas"], deployment["spec"]["strategy"]["type"]) == (2, "RollingUpdate")
    selected = term["podAffinityTerm"]["labelSelector"]["matchLabels"]
    assert selected.items() <= pod["metadata"]["labels"].items()
    assert budget["spec"]["selector"]["matchLabels"] == selected


def test_one_operator_is_stopped_before_the_next_starts_when_none_is_elected() -> None:
    manifests = render("leaderElection.enabled=false", "replicas=1")
    [deployment] = by_kind(manifests, "Deployment")

    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    assert by_kind(manifests, "PodDisruptionBudget") == by_kind(manifests, "Job") == []
    names = {variable["name"] for variable in deployment["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert not any("LEASE" in name for name in names)


def test_operator_and_the_hook_before_its_removal_share_the_lease_and_the_account() -> None:
    manifests = render("watchNamespace=team-a")
    [deployment], [hook] = by_kind(manifests, "Deployment"), by_kind(manifests, "Job")
    pods = [each["spec"]["template"]["spec"] for each in (deployment, hook)]
    lease, hooked = (read_settings(pod) for pod in pods)

    assert hook["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete"
    assert hook["spec"]["template"]["spec"]["containers"][0]["args"] == ["release-finalizers"]
    assert (lease.lease_namespace, lease.lease_name) == ("oarlock-system", RELEASE)
    assert (hooked.lease_namespace, hooked.lease_name, hooked.namespace) == ("oarlock-system", RELEASE, "team-a")
    assert pods[0]["serviceAccountName"] == pods[1]["serviceAccountName"]
    assert pods[0]["securityContext"] == pods[1]["securityContext"]


def read_settings(pod: dict[str, Any]) -> Settings:
    [container] = pod["containers"]
    return Settings.from_environment({variable["name"]: variable["value"] for variable in container["env"]})


def test_the_operator_pod_is_restricted_and_gets_settings_that_exist() -> None:
    [deployment] = by_kind(render("trainer.storageClass=fast"), "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    [container] = pod["containers"]
    variables = {variable["name"]: variable["value"] for variable in container["env"]}

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert Settings.from_environment(variables).default_storage_class == "fast"
    assert all(name.removeprefix("OARLOCK_OPERATOR_").lower() in Settings.__slots__ for name in {*variables} - {"HOME"})


@pytest.mark.parametrize(("value", "queueing"), [("auto", "auto"), ("true", "on"), ("false", "off")])
def test_queue_is_set_by_values(value: str, queueing: str) -> None:
    [deployment] = by_kind(render(f"queue.enabled={value},queue.budget=nvidia.com/gpu=16"), "Deployment")
    settings = read_settings(deployment["spec"]["template"]["spec"])

    assert (settings.queueing, settings.queue_budget) == (queueing, "nvidia.com/gpu=16")


@pytest.mark.parametrize("handed_over", ["coscheduling", "volcano"])
def test_account_may_write_the_pod_groups_of_one_scheduler_when_gangs_are_handed_over(handed_over: str) -> None:
    manifests = render(f"queue.podGroups={handed_over},queue.schedulerName=gangs")
    scheduler = find_group_scheduler(read_settings(by_kind(manifests, "Deployment")[0]["spec"]["template"]["spec"]))
    [rule] = [
        each for role in by_kind(manifests, "ClusterRole") for each in role["rules"] if "podgroups" in each["resources"]
    ]

    assert scheduler
    assert scheduler.scheduler == "gangs"
    needed = {(right.verb, right.group, right.resource) for right in pod_group_rights(scheduler)}
    assert needed == {(verb, rule["apiGroups"][0], rule["resources"][0]) for verb in rule["verbs"]}


@pytest.mark.kube
def test_the_account_holds_its_rights_when_helm_installs_the_chart(control_plane: ControlPlane, namespace: str) -> None:
    installed = install(control_plane, namespace=namespace)
    assert installed.returncode == 0, installed.stderr

    try:
        account = control_plane.kubeconfig_for_service_account(namespace, RELEASE)
        missing = [right for right in needed_rights() if not may(account, right)]
        missing += [right for right in lease_rights(RELEASE) if not may(account, right, namespace=namespace)]
        assert missing == []
        assert not may(account, Right("update", "leases", "coordination.k8s.io", name="other"), namespace=namespace)
        assert not may(account, Right("get", "secrets"))
        assert not may(account, Right("create", "pods", subresource="exec"))
    finally:
        removed = uninstall(control_plane, namespace=namespace)

    assert removed.returncode == 0, removed.stderr
    assert control_plane.api.exists("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/trainingjobs.oarlock.dev")


def may(account: Any, right: Right, *, namespace: str = "default") -> bool:
    resource = f"{right.resource}.{right.group}" if right.group else right.resource
    resource += f"/{right.name}" if right.name else ""
    subresource = [f"--subresource={right.subresource}"] if right.subresource else []
    command = ["auth", "can-i", right.verb, resource, *subresource, "--namespace", namespace, "--quiet"]
    return subprocess.run([str(kubectl_path()), "--kubeconfig", str(account), *command], check=False).returncode == 0
