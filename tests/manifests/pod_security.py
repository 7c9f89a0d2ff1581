"""The `restricted` Pod Security Standard, rule by rule, for the pods that we build (kubernetes.io, Pod Security Standards v1.36)."""

from collections.abc import Iterator
from typing import Any

_VOLUME_KINDS = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
_HOST_FIELDS = ("hostNetwork", "hostPID", "hostIPC")


def find_violations(pod: dict[str, Any]) -> list[str]:
    """Return what the standard forbids in a pod."""
    return [
        *_find_in_pod(pod),
        *(found for container in _containers(pod) for found in _find_in_container(pod, container)),
    ]


def _containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    spec = pod["spec"]
    return [*spec["containers"], *spec.get("initContainers", []), *spec.get("ephemeralContainers", [])]


def _find_in_pod(pod: dict[str, Any]) -> Iterator[str]:
    spec = pod["spec"]
    security = spec.get("securityContext", {})
    yield from (f"{field} is set" for field in _HOST_FIELDS if spec.get(field))
    for volume in spec.get("volumes", []):
        if kinds := set(volume) - {"name"} - _VOLUME_KINDS:
            yield f"volume {volume['name']} is a {kinds}"
    if security.get("sysctls"):
        yield "sysctls are set"
    if security.get("runAsUser") == 0:
        yield "the pod runs as root"
    if any("apparmor" in key for key in pod["metadata"].get("annotations", {})):
        yield "AppArmor is overridden"


def _find_in_container(pod: dict[str, Any], container: dict[str, Any]) -> Iterator[str]:
    own, whole = container.get("securityContext", {}), pod["spec"].get("securityContext", {})
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    capabilities = own.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []):
        yield "not all capabilities are dropped"
    if set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield "capabilities are added"
    if own.get("runAsNonRoot", whole.get("runAsNonRoot")) is not True:
        yield "runAsNonRoot is not true"
    if own.get("runAsUser", whole.get("runAsUser")) == 0:
        yield "the container runs as root"
    profile = own.get("seccompProfile", whole.get("seccompProfile", {}))
    if profile.get("type") not in ("RuntimeDefault", "Localhost"):
        yield "no seccomp profile"
    if own.get("procMount", "Default") != "Default":
        yield "procMount is set"
    if own.get("seLinuxOptions") or whole.get("seLinuxOptions"):
        yield "SELinux is overridden"
    yield from (f"host port {port['hostPort']}" for port in container.get("ports", []) if port.get("hostPort"))
