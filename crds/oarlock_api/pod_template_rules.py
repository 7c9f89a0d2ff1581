"""What a pod template must leave alone, whatever the administrator allows: what is Oarlock's, and what the kubelet mounts.

The names that are open to users unless an administrator closes them are the operator's to judge (`policy/overlays.py`), since
its settings decide. Pure; the Python twins accept whatever a user wrote, and leave wrong types to the models.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from oarlock_api.rule import Rule, Scope, require_exactly_one

RESERVED_PREFIXES = ("oarlock.dev/", "app.kubernetes.io/")
"""Labels and annotations by which the operator finds its pods."""
TAKEN_FOLDERS = ("/oarlock/", "/dev/", "/tmp/", "/proc/", "/sys/", "/run/", "/var/run/")  # noqa: S108  # in the pods
"""Where Oarlock, the runtime and the kubelet mount their own."""


def build_pod_template_rules(at: str) -> tuple[Rule, ...]:
    """Return the rules of the pod template at the dotted path `at`."""
    return (
        *_build_volume_rules(at),
        Rule(
            at=f"{at}.env[]",
            cel="!self.name.startsWith('OARLOCK_')",
            broken=_find_reserved_variable,
            rule="must not be named OARLOCK_*",
            remedy="these variables belong to Oarlock: choose another name",
        ),
        *(_forbid_reserved_keys(at, field) for field in ("labels", "annotations")),
    )


def _build_volume_rules(at: str) -> tuple[Rule, ...]:
    return (
        require_exactly_one(f"{at}.volumes[]", "claim", "configMap", "secret", "emptyDir"),
        Rule(
            at=f"{at}.volumes[]",
            cel="!(" + _any_prefix("(self.mountPath + '/')", TAKEN_FOLDERS) + ")",
            broken=_find_reserved_mount,
            rule="must not be mounted under /oarlock, /dev, /tmp, /proc, /sys, /run or /var/run",
            remedy="choose another mountPath",
        ),
        Rule(
            at=f"{at}.volumes[]",
            cel="!self.name.startsWith('oarlock-')",
            broken=_find_reserved_volume,
            rule="must not be named oarlock-*",
            remedy="these volumes belong to Oarlock: choose another name",
        ),
        Rule(
            at=at,
            cel="!has(self.volumes) || self.volumes.all(one, self.volumes.exists_one(other, other.name == one.name))",
            broken=lambda template: _find_repeated(template, "name"),
            rule="must have volumes of different names",
            remedy="rename one of each pair",
        ),
        Rule(
            at=at,
            cel="!has(self.volumes)"
            " || self.volumes.all(one, self.volumes.exists_one(other, other.mountPath == one.mountPath))",
            broken=lambda template: _find_repeated(template, "mountPath"),
            rule="must have volumes at different mountPaths",
            remedy="mount one of each pair elsewhere",
        ),
    )


def _forbid_reserved_keys(at: str, field: str) -> Rule:
    return Rule(
        at=at,
        cel=f"!has(self.{field}) || !self.{field}.exists(key, {_any_prefix('key', RESERVED_PREFIXES)})",
        broken=_find_reserved_key(field),
        rule=f"must not have {field} under {' or '.join(RESERVED_PREFIXES)}",
        remedy="these keys belong to Oarlock: choose others",
    )


def _any_prefix(text: str, prefixes: Iterable[str]) -> str:
    """Return the CEL for "begins with one of these".

    Without a loop: API servers estimate what a rule may cost before they take it, and know the length of a literal at once.
    """
    return " || ".join(f"{text}.startsWith('{prefix}')" for prefix in prefixes)


def _find_reserved_key(field: str) -> Callable[[Scope], str | None]:
    def broken(template: Scope) -> str | None:
        added = template.get(field)
        keys = sorted(map(str, added)) if isinstance(added, Mapping) else []
        return ", ".join(repr(key[:80]) for key in keys if key.startswith(RESERVED_PREFIXES)) or None

    return broken


def _find_reserved_variable(variable: Scope) -> str | None:
    name = variable.get("name")
    return repr(name) if isinstance(name, str) and name.startswith("OARLOCK_") else None


def _find_reserved_mount(volume: Scope) -> str | None:
    path = volume.get("mountPath")
    return repr(path) if isinstance(path, str) and f"{path}/".startswith(TAKEN_FOLDERS) else None


def _find_reserved_volume(volume: Scope) -> str | None:
    name = volume.get("name")
    return repr(name) if isinstance(name, str) and name.startswith("oarlock-") else None


def _find_repeated(template: Scope, field: str) -> str | None:
    found = list(_each(template.get("volumes"), field))
    return ", ".join(sorted({value for value in found if found.count(value) > 1})) or None


def _each(volumes: Any, field: str) -> Iterator[str]:
    for volume in volumes if isinstance(volumes, list) else ():
        if isinstance(volume, Mapping) and volume.get(field) is not None:
            yield str(volume[field])
