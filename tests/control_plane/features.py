"""Which abilities of newer servers a server has, found out by dry runs instead of by its version: a test that needs one that
is not there reports NOT RUN."""

from enum import StrEnum

from control_plane.api import Api


class Feature(StrEnum):
    CEL = "cel"
    """CustomResourceDefinitions keep and enforce their validation rules."""
    POD_SECURITY = "podSecurity"
    """Namespaces can demand the restricted profile."""
    SCHEDULING_GATES = "schedulingGates"
    POLICY_V1 = "policyV1"
    """PodDisruptionBudgets of policy/v1."""


def find_features(api: Api) -> frozenset[Feature]:
    has = {
        Feature.CEL: has_cel,
        Feature.POD_SECURITY: has_pod_security,
        Feature.SCHEDULING_GATES: has_scheduling_gates,
        Feature.POLICY_V1: has_policy_v1,
    }
    return frozenset(feature for feature, is_there in has.items() if is_there(api))


def has_policy_v1(api: Api) -> bool:
    return api.exists("/apis/policy/v1")


def has_pod_security(api: Api) -> bool:
    """A server with this admission refuses a namespace whose label names no profile; one without takes any label."""
    labels = {"pod-security.kubernetes.io/enforce": "no-such-profile"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "oarlock-probe", "labels": labels}}
    return not api.ask("POST", "/api/v1/namespaces?dryRun=All", namespace).ok


def has_scheduling_gates(api: Api) -> bool:
    """A server that does not know the field drops it."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "oarlock-probe"},
        "spec": {
            "schedulingGates": [{"name": "oarlock.dev/probe"}],
            "containers": [{"name": "probe", "image": "probe"}],
        },
    }
    answer = api.ask("POST", "/api/v1/namespaces/default/pods?dryRun=All", pod)
    return answer.ok and "schedulingGates" in answer.body["spec"]


def has_cel(api: Api) -> bool:
    """A server that does not know the rules drops them from the schema."""
    schema = {"type": "object", "x-kubernetes-validations": [{"rule": "true"}]}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "probes.test.oarlock.dev"},
        "spec": {
            "group": "test.oarlock.dev",
            "scope": "Namespaced",
            "names": {"plural": "probes", "kind": "Probe"},
            "versions": [version],
        },
    }
    answer = api.ask("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?dryRun=All", crd)
    if not answer.ok:
        return False
    kept = answer.body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return "x-kubernetes-validations" in kept
