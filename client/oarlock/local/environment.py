"""The variables and the command line of a container, as the kubelet resolves them. Pure.

`$(NAME)` stands for a variable that is defined before; `$$` is one dollar sign; a name that is not defined stays as it is
written. A node without containers also translates paths: what the pod calls /oarlock/data is some folder of this machine.
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from oarlock_api.v1alpha1.values import parse_quantity

Pod = Mapping[str, Any]

_DOLLAR = re.compile(r"\$(?:\$|\(([^)]*)\))")
_SUBSCRIPT = re.compile(r"^metadata\.(labels|annotations)\['(.+)'\]$")


class UnresolvableError(Exception):
    """A variable refers to something that a process on this machine cannot have."""


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace `$(NAME)` and `$$` as the kubelet does."""

    def replace(match: re.Match[str]) -> str:
        name = match.group(1)
        return "$" if name is None else variables.get(name, match.group(0))

    return _DOLLAR.sub(replace, text)


def resolve_environment(pod: Pod, container: Mapping[str, Any]) -> dict[str, str]:
    """Return the container's variables by name.

    Raises:
        UnresolvableError: names the variable and what it refers to.
    """
    variables: dict[str, str] = {}
    if container.get("envFrom"):
        raise UnresolvableError("envFrom refers to ConfigMaps or Secrets, which one machine does not have")
    for entry in container.get("env", ()):
        if source := entry.get("valueFrom"):
            variables[entry["name"]] = _look_up(entry["name"], source, pod, container)
        else:
            variables[entry["name"]] = expand(entry.get("value") or "", variables)
    return variables


def resolve_command(container: Mapping[str, Any], variables: Mapping[str, str]) -> list[str]:
    """Return program and arguments."""
    return [expand(word, variables) for word in (*container.get("command", ()), *container.get("args", ()))]


def translate_path(path: str, mounts: Mapping[str, Path]) -> str:
    """Return where a path of the pod is on this machine; a path under no mount stays as it is."""
    inside = PurePosixPath(path)
    candidates = [mount for mount in mounts if inside.is_relative_to(mount)]
    if not path.startswith("/") or not candidates:
        return path
    deepest = max(candidates, key=len)
    return str(mounts[deepest] / inside.relative_to(deepest))


def translate_paths(variables: Mapping[str, str], mounts: Mapping[str, Path]) -> dict[str, str]:
    """Translate every variable whose value is a path under a mount."""
    return {name: translate_path(value, mounts) for name, value in variables.items()}


def _look_up(name: str, source: Mapping[str, Any], pod: Pod, container: Mapping[str, Any]) -> str:
    if field := source.get("fieldRef"):
        return _read_field(field["fieldPath"], pod)
    if resource := source.get("resourceFieldRef"):
        return _read_resource(resource, container)
    kind = next(iter(source), "nothing")
    raise UnresolvableError(f"the variable {name} comes from {kind}, which one machine does not have")


def _read_field(path: str, pod: Pod) -> str:
    """Return a field of the pod that the downward API offers."""
    if match := _SUBSCRIPT.match(path):
        return str(pod["metadata"].get(match.group(1), {}).get(match.group(2), ""))
    section, _, key = path.partition(".")
    if section not in ("metadata", "spec", "status"):
        raise UnresolvableError(f"the pod has no field {path} for a variable")
    return str(pod.get(section, {}).get(key, ""))


def _read_resource(resource: Mapping[str, str], container: Mapping[str, Any]) -> str:
    side, _, name = resource["resource"].partition(".")
    quantity = str(container.get("resources", {}).get(side, {}).get(name, "0"))
    divisor = parse_amount(str(resource.get("divisor", "1"))) or 1
    return str(math.ceil(parse_amount(quantity) / divisor))


def parse_amount(quantity: str) -> float:
    """Return the number that a quantity such as `500m`, `2` or `4Gi` means."""
    return float(quantity[:-1]) / 1000 if quantity.endswith("m") else float(parse_quantity(quantity))


def split_endpoint(endpoint: str) -> tuple[str, str]:
    """Return host and port of `host:port`."""
    host, _, port = endpoint.rpartition(":")
    return host, port


def sum_requests(containers: Sequence[Mapping[str, Any]], resource: str) -> float:
    """Return how much of a resource the containers ask for."""
    sides = (container.get("resources", {}) for container in containers)
    return sum(parse_amount(str({**r.get("limits", {}), **r.get("requests", {})}.get(resource, "0"))) for r in sides)
