"""Pod templates add what they may, and nothing else: whatever the template, the pod stays restricted and ours."""

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from manifests.generated_overlays import FIELDS, templates, wire_names
from manifests.manifest_cases import DATASET, JOB, SETTINGS, TEMPLATE, make_dataset_spec, make_run
from manifests.pod_security import find_violations

from oarlock_api.findings import Finding
from oarlock_api.pod_template_rules import TAKEN_FOLDERS
from oarlock_api.v1alpha1.pod_template import PodTemplate
from oarlock_api.v1alpha1.training_job import RunPolicy
from oarlock_api.validation import validate_dataset, validate_training_job
from oarlock_operator.manifests.importer import build_import_pod
from oarlock_operator.manifests.scouts import build_scout_pod
from oarlock_operator.manifests.workers import build_worker_pod
from oarlock_operator.policy.overlays import find_refused_overlay

JOB_SPEC = {"dataset": {"name": "fashion"}, "model": {"name": "lenet"}}
DATASET_SPEC = {"source": {"volume": {"claim": "raw"}}, "layout": {"folders": {}}}
USERS_OWN = {"schedulerName", "priorityClassName", "nodeSelector", "affinity", "tolerations"} | {
    *("topologySpreadConstraints", "imagePullSecrets", "runtimeClassName", "serviceAccountName")
}
"""Fields of a pod's spec that a template fills, and nobody else."""
RUN = make_run()

Template = dict[str, Any]
Pod = dict[str, Any]


def find_faults(template: Template) -> list[Finding]:
    """Return what the operator has against a template, under settings as they are shipped; both kinds have one rule."""
    job = validate_training_job({**JOB_SPEC, "workers": {"podTemplate": template}}, name="a")
    data = validate_dataset({**DATASET_SPEC, "podTemplate": template}, name="a")
    assert [each.rule for each in job.findings] == [each.rule for each in data.findings]
    if job.model is None:
        return list(job.findings)
    return list(
        find_refused_overlay(job.model.workers.pod_template, path="spec.workers.podTemplate", settings=SETTINGS)
    )


def accept(template: Template) -> PodTemplate:
    """Return what is left of a template when each field with a fault is left out, until there is none."""
    while faults := find_faults(template):
        assert all(fault.remedy for fault in faults)
        guilty = {field for field in template for fault in faults if names_field(fault, field)}
        assert guilty, faults
        template = {field: value for field, value in template.items() if field not in guilty}
    return PodTemplate.from_wire(template)


def names_field(fault: Finding, field: str) -> bool:
    """A rule about the whole template names the field in its words."""
    place = fault.path.removeprefix("spec.workers.podTemplate").lstrip(".")
    return re.match(rf"{field}\b", place) is not None or (not place and field in fault.rule)


def build_worker(template: PodTemplate | None) -> Pod:
    run = RUN.model_copy(update={"workers": RUN.workers.model_copy(update={"pod_template": template})})
    return build_worker_pod(run, owner=JOB, attempt=0, rank=0, nodes=1, policy=RunPolicy())


def build_scout(template: PodTemplate | None) -> Pod:
    run = RUN.model_copy(update={"workers": RUN.workers.model_copy(update={"pod_template": template})})
    return build_scout_pod(run, owner=JOB, attempt=0, rank=1, policy=RunPolicy())


def build_import(template: PodTemplate | None) -> Pod:
    spec = make_dataset_spec().model_copy(update={"pod_template": template})
    return build_import_pod(spec, owner=DATASET, claim="data", attempt=0, run_hash="feed", settings=SETTINGS)


def by_name(items: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in items}


def assert_only_added(plain: Pod, overlaid: Pod) -> None:
    """Check that everything of ours is in the pod as it would be without a template."""
    for field in ("labels", "annotations"):
        assert plain["metadata"][field].items() <= overlaid["metadata"][field].items()
    for field in {*plain["metadata"], *overlaid["metadata"]} - {"labels", "annotations"}:
        assert plain["metadata"][field] == overlaid["metadata"][field]
    before, after = plain["spec"], overlaid["spec"]
    for field in {*before, *after} - USERS_OWN - {"containers", "volumes"}:
        assert before[field] == after[field]
    [ours], [theirs] = before["containers"], after["containers"]
    for field in {*ours, *theirs} - {"image", "imagePullPolicy", "env", "volumeMounts"}:
        assert ours[field] == theirs[field]
    assert_variables_added(by_name(ours.get("env", [])), by_name(theirs.get("env", [])))
    assert by_name(before["volumes"]).items() <= by_name(after["volumes"]).items()
    assert all(mount in theirs["volumeMounts"] for mount in ours.get("volumeMounts", []))


def assert_variables_added(before: dict[str, Any], after: dict[str, Any]) -> None:
    changed = {name for name, variable in before.items() if after.get(name) != variable}
    assert changed <= {"HOME", "TMPDIR"}
    assert all("valueFrom" not in after[name] for name in after.keys() - before.keys())


def assert_mounted_apart(pod: Pod) -> None:
    volumes = by_name(pod["spec"]["volumes"])
    added = [name for name in volumes if not name.startswith("oarlock-")]
    places = [
        mount["mountPath"] for mount in pod["spec"]["containers"][0].get("volumeMounts", ()) if mount["name"] in added
    ]
    kinds = {kind for name in added for kind in volumes[name].keys() - {"name"}}
    assert kinds <= {"persistentVolumeClaim", "configMap", "secret", "emptyDir"}
    assert not any(f"{place}/".startswith(TAKEN_FOLDERS) for place in places)


def test_every_field_of_the_allow_list_is_generated() -> None:
    assert set(FIELDS) == wire_names() == set(TEMPLATE)


@settings(max_examples=60)
@given(template=templates)
def test_pods_stay_restricted_and_ours_whatever_a_template_adds(template: Template) -> None:
    accepted = accept(template)
    for build in (build_worker, build_scout, build_import):
        pod = build(accepted)

        assert find_violations(pod) == []
        assert_only_added(build(None), pod)
        assert_mounted_apart(pod)
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert json.loads(json.dumps(pod)) == pod


def words(text: str) -> list[str]:
    return sorted(set(re.findall(r"\w+", text)))


POD_FIELDS = words("""activeDeadlineSeconds automountServiceAccountToken containers dnsConfig dnsPolicy enableServiceLinks
ephemeralContainers hostAliases hostIPC hostNetwork hostPID hostUsers hostname initContainers nodeName os overhead
preemptionPolicy priority readinessGates resourceClaims resources restartPolicy schedulingGates securityContext serviceAccount
setHostnameAsFQDN shareProcessNamespace subdomain terminationGracePeriodSeconds command args lifecycle securityContext envFrom
workingDir ports volumeMounts volumeDevices stdin tty metadata finalizers ownerReferences namespace name""")
VOLUME_FIELDS = words("""hostPath nfs csi projected ephemeral downwardAPI iscsi flexVolume image gitRepo glusterfs cephfs rbd local
awsElasticBlockStore azureDisk azureFile portworxVolume subPath subPathExpr mountPropagation recursiveReadOnly""")


@pytest.mark.parametrize("field", POD_FIELDS)
def test_other_fields_of_pods_and_containers_are_no_fields_of_a_template(field: str) -> None:
    found = validate_training_job({**JOB_SPEC, "workers": {"podTemplate": {field: {}}}}, name="a").findings

    assert [(finding.path, finding.rule) for finding in found] == [
        (f"spec.workers.podTemplate.{field}", "is not a field")
    ]


@pytest.mark.parametrize("field", VOLUME_FIELDS)
def test_other_kinds_of_volumes_are_no_fields_of_one(field: str) -> None:
    volume = {"name": "a", "mountPath": "/a", field: {}}
    found = validate_dataset({**DATASET_SPEC, "podTemplate": {"volumes": [volume]}}, name="a").findings

    assert (f"spec.podTemplate.volumes[0].{field}", "is not a field") in [(each.path, each.rule) for each in found]


def test_value_of_a_variable_comes_from_its_text_alone() -> None:
    variable = {"name": "A", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}
    found = validate_training_job({**JOB_SPEC, "workers": {"podTemplate": {"env": [variable]}}}, name="a").findings

    assert [finding.path for finding in found] == ["spec.workers.podTemplate.env[0].valueFrom"]
