"""What the administrator's lists open and close, and what users are told."""

from dataclasses import replace
from typing import Any

import pytest

from oarlock_api.findings import Finding
from oarlock_api.v1alpha1.pod_template import PodTemplate
from oarlock_operator.policy.image_sources import is_image_allowed
from oarlock_operator.policy.overlays import find_refused_overlay
from oarlock_operator.settings import Settings

PATH = "spec.workers.podTemplate"


def find(template: dict[str, Any], **settings: Any) -> list[Finding]:
    return list(
        find_refused_overlay(PodTemplate.from_wire(template), path=PATH, settings=replace(Settings(), **settings))
    )


def volume(kind: str) -> dict[str, Any]:
    return {"volumes": [{"name": "a", "mountPath": "/a", kind: {} if kind == "emptyDir" else "a"}]}


CLOSED: dict[str, tuple[Any, ...]] = {
    "service account": ({"serviceAccountName": "admin"}, "serviceAccountName", "serviceAccounts", "admin"),
    "runtime class": ({"runtimeClassName": "runc"}, "runtimeClassName", "runtimeClasses", "runc"),
    "class of the system": (
        *({"priorityClassName": "system-node-critical"}, "priorityClassName", "priorityClasses"),
        "system-node-critical",
    ),
    "annotation": (
        *({"annotations": {"k8s.v1.cni.cncf.io/networks": "host"}}, "annotations.k8s.v1.cni.cncf.io/networks"),
        *("annotations", "k8s.v1.cni.cncf.io/networks"),
    ),
    "identity": (
        *({"labels": {"azure.workload.identity/use": "true"}}, "labels.azure.workload.identity/use"),
        *("labels", "azure.workload.identity/use"),
    ),
    "devices": (
        *({"env": [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}]}, "env[0]", "deviceVariables"),
        "NVIDIA_VISIBLE_DEVICES",
    ),
}
"""Pod template, path, value of the chart, name that must be in its list."""
OPEN: dict[str, tuple[Any, ...]] = {
    "priority class": ({"priorityClassName": "high"}, "priorityClassName", "allowed_priority_classes", "low,higher"),
    "image": ({"image": "evil.example/miner"}, "image", "allowed_images", "registry.example/team"),
    "label": ({"labels": {"team": "x"}}, "labels.team", "allowed_labels", "cost-centre"),
    **{
        kind: (volume(kind), "volumes[0]", "allowed_volume_kinds", others)
        for kind, others in {
            "claim": "configMap,secret,emptyDir",
            "configMap": "claim",
            "secret": "claim,configMap",
            "emptyDir": "",
        }.items()
    },
}
"""Pod template, path, setting, list that closes it."""


def setting_of(value: str) -> str:
    return "allowed_" + "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in value)


@pytest.mark.parametrize(("template", "path", "value", "name"), CLOSED.values(), ids=CLOSED)
def test_overlay_is_refused_with_the_administrator_s_setting_until_its_name_is_written_out(
    template: dict[str, Any], path: str, value: str, name: str
) -> None:
    [finding] = find(template)

    assert (finding.path, finding.rule) == (f"{PATH}.{path}", "must be allowed by the administrator")
    assert finding.found == repr(name)
    assert f"podOverlays.{value} of the chart" in finding.remedy
    assert find(template, **{setting_of(value): f"other, {name}"}) == []
    assert find(template, **{setting_of(value): f"not-{name}"})


@pytest.mark.parametrize("case", ["class of the system", "identity", "devices"])
def test_wildcard_never_means_a_name_that_grants_privileges(case: str) -> None:
    template, _, value, name = CLOSED[case]

    assert find(template, **{setting_of(value): f"*,{name[:-1]}*"})


@pytest.mark.parametrize(("template", "path", "setting", "names"), OPEN.values(), ids=OPEN)
def test_overlay_is_taken_as_shipped_and_refused_when_a_list_leaves_it_out(
    template: dict[str, Any], path: str, setting: str, names: str
) -> None:
    assert find(template) == []

    [finding] = find(template, **{setting: names})

    assert finding.path == f"{PATH}.{path}"


def test_wildcards_stand_for_any_text_when_annotations_are_allowed_by_prefix() -> None:
    template = {"annotations": {"prometheus.io/scrape": "true", "note": "free"}}

    assert find(template, allowed_annotations="prometheus.io/*") == []
    assert find(template, allowed_annotations="*/scrape,a/*") == []
    assert len(find(template, allowed_annotations="prometheus.io")) == 1


def test_what_is_allowed_is_named_when_something_else_is_refused() -> None:
    [finding] = find({"runtimeClassName": "runc"}, allowed_runtime_classes="nvidia,kata")

    assert "use what is allowed (nvidia, kata)" in finding.remedy


def test_device_variable_is_refused_in_small_letters_too() -> None:
    assert find({"env": [{"name": "nvidia_visible_devices", "value": "all"}]})


@pytest.mark.parametrize(
    ("image", "entry"),
    [
        ("registry.example/team/trainer:5", "registry.example/team"),
        ("registry.example/team/trainer:5", "registry.example/team/"),
        ("registry.example/team/trainer@sha256:00", "registry.example"),
        ("registry.example:5000/team/trainer:5", "registry.example:5000/team"),
        ("python:3.12", "docker.io/library"),
        ("python", "library/python"),
        ("pytorch/pytorch:2", "pytorch"),
        ("pytorch/pytorch:2", "docker.io"),
        ("registry.example/a:5", "registry.example/a:5"),
        ("anything", "*"),
    ],
)
def test_image_is_allowed_when_its_repository_lies_in_an_entry(image: str, entry: str) -> None:
    assert is_image_allowed(image, entry)


@pytest.mark.parametrize(
    ("image", "entry"),
    [
        ("registry.example/team-two/trainer", "registry.example/team"),
        ("registry.example.evil/team/trainer", "registry.example"),
        ("registry.example:5000/team/trainer", "registry.example"),
        ("REGISTRY.example/team/trainer", "registry.example/team"),
        ("EVIL/pytorch:2", "docker.io"),
        ("evil.example/docker.io/library/python", "docker.io/library"),
        ("python@registry.example/team", "registry.example/team"),
        ("registry.example/a:6", "registry.example/a:5"),
        ("registry.example/a:5-evil", "registry.example/a:5"),
        ("localhost/pytorch", "docker.io"),
        ("python", "pytorch"),
        ("anything", ""),
    ],
)
def test_image_is_refused_when_it_only_looks_like_an_entry(image: str, entry: str) -> None:
    assert not is_image_allowed(image, entry)
