"""What pods, Services and claims look like."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from manifests.manifest_cases import DATASET, JOB, TEMPLATE, build_import, build_job, cases, make_dataset_spec, make_run
from manifests.pod_security import find_violations

from oarlock_api import contract
from oarlock_api.run import ImportRun, WorkerRun
from oarlock_api.v1alpha1.training_job import RunPolicy
from oarlock_operator import names
from oarlock_operator.manifests.environment import escape_dollars
from oarlock_operator.manifests.resources import format_cpu
from oarlock_operator.manifests.sizes import MAX_FROZEN_RUN_BYTES, find_oversized_run
from oarlock_operator.manifests.workers import format_worker_run

CASES = cases()
PODS = [
    pytest.param(manifest, id=f"{case}-{manifest['metadata']['name']}")
    for case, manifests in CASES.items()
    for manifest in manifests
    if manifest["kind"] == "Pod"
]


def variables(pod: dict[str, Any]) -> dict[str, str]:
    """The variables as a process sees them, once the kubelet has undone the doubled dollar signs."""
    return {entry["name"]: entry.get("value", "").replace("$$", "$") for entry in container(pod)["env"]}


def container(pod: dict[str, Any]) -> dict[str, Any]:
    (only,) = pod["spec"]["containers"]
    return dict(only)


def one_pod(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    return next(manifest for manifest in manifests if manifest["kind"] == "Pod")


@pytest.mark.parametrize("case", CASES)
def test_manifests_are_the_golden_ones(case: str, compare_golden: Callable[..., None]) -> None:
    compare_golden(case, CASES[case])


@pytest.mark.parametrize("pod", PODS)
def test_every_pod_passes_the_restricted_standard(pod: dict[str, Any]) -> None:
    assert find_violations(pod) == []


@pytest.mark.parametrize(
    "spoil",
    [
        {"hostNetwork": True},
        {"securityContext": {"runAsNonRoot": True, "seccompProfile": {}}},
        {"securityContext": {"runAsUser": 0, "seccompProfile": {"type": "RuntimeDefault"}}},
        {"volumes": [{"name": "root", "hostPath": {"path": "/"}}]},
        {"initContainers": [{"name": "plain"}]},
    ],
    ids=["host network", "no seccomp", "root", "host path", "another container"],
)
def test_the_check_of_the_standard_finds_what_it_forbids(spoil: dict[str, Any]) -> None:
    pod = one_pod(CASES["shortest-job"])

    assert find_violations({**pod, "spec": {**pod["spec"], **spoil}})


@pytest.mark.parametrize("pod", PODS)
def test_no_pod_has_credentials_or_restarts_by_itself(pod: dict[str, Any]) -> None:
    spec = pod["spec"]

    assert spec["automountServiceAccountToken"] is False
    assert "serviceAccountName" not in spec or spec["serviceAccountName"] == TEMPLATE["serviceAccountName"]
    assert spec["restartPolicy"] == "Never"
    assert container(pod)["securityContext"]["readOnlyRootFilesystem"] is True


@pytest.mark.parametrize("pod", PODS)
def test_every_volume_is_mounted_and_every_mount_is_a_volume(pod: dict[str, Any]) -> None:
    volumes = [volume["name"] for volume in pod["spec"]["volumes"]]
    mounts = container(pod)["volumeMounts"]

    assert len(volumes) == len(set(volumes))
    assert {mount["name"] for mount in mounts} == set(volumes)
    assert len({mount["mountPath"] for mount in mounts}) == len(mounts)


@pytest.mark.parametrize("pod", PODS)
def test_paths_in_variables_lie_under_mounts(pod: dict[str, Any]) -> None:
    mounts = [mount["mountPath"] for mount in container(pod)["volumeMounts"]]
    paths = [value for name, value in variables(pod).items() if name in contract.PATH_ENVS]
    paths.remove(contract.TERMINATION_LOG)

    assert paths
    assert all(any(path == mount or path.startswith(f"{mount}/") for mount in mounts) for path in paths)


def test_pods_are_found_by_the_service_and_by_their_owner() -> None:
    _, service, *pods = CASES["two-nodes-of-eight-gpus"]
    selector = service["spec"]["selector"]

    assert len(pods) == 2
    for rank, pod in enumerate(pods):
        assert selector.items() <= pod["metadata"]["labels"].items()
        assert pod["spec"]["subdomain"] == service["metadata"]["name"]
        assert pod["spec"]["hostname"] == f"r{rank}-a3"
        assert pod["metadata"]["ownerReferences"][0]["uid"] == JOB.uid


def test_the_rendezvous_is_hosted_by_rank_0_of_the_attempt() -> None:
    pods = CASES["two-nodes-of-eight-gpus"][2:]
    endpoints = {variables(pod)[contract.RENDEZVOUS_ENDPOINT_ENV] for pod in pods}
    ids = {variables(pod)[contract.RENDEZVOUS_ID_ENV] for pod in pods}

    assert endpoints == {f"r0-a3.{names.service_name(JOB.name, JOB.uid)}:29400"}
    assert ids == {f"{JOB.uid}-a3"}
    assert variables(one_pod(CASES["shortest-job"]))[contract.RENDEZVOUS_ENDPOINT_ENV] == ""


def test_deadlines_of_the_pod_follow_the_run_policy() -> None:
    pod = CASES["two-nodes-of-eight-gpus"][2]
    said = variables(pod)

    assert said[contract.GRACE_PERIOD_SECONDS_ENV] == "300"
    assert pod["spec"]["terminationGracePeriodSeconds"] == 315
    assert said[contract.PROGRESS_DEADLINE_SECONDS_ENV] == "900"
    assert said[contract.JOIN_TIMEOUT_SECONDS_ENV] == "960", "shorter than the startup deadline"


def test_gpus_are_asked_for_by_their_resource() -> None:
    run = make_run(workers={"gpusPerNode": 2, "gpuResource": "nvidia.com/mig-1g.10gb"})
    resources = container(one_pod(build_job(run)))["resources"]

    assert resources["limits"] == {"cpu": "8", "memory": "32Gi", "nvidia.com/mig-1g.10gb": "2"}
    assert resources["requests"] == resources["limits"]


@pytest.mark.parametrize(("cores", "quantity"), [(2.0, "2"), (0.5, "500m"), (0.0001, "1m"), (1.25, "1250m")])
def test_cpu_is_written_as_a_quantity(cores: float, quantity: str) -> None:
    assert format_cpu(cores) == quantity


def test_the_user_s_fields_are_added_and_ours_stay() -> None:
    pod = one_pod(CASES["every-field-of-the-pod-template"])
    metadata, spec = pod["metadata"], pod["spec"]

    assert metadata["labels"]["team"] == "vision"
    assert (metadata["labels"][names.JOB_LABEL], metadata["labels"][names.NAME_LABEL]) == (JOB.name, "oarlock")
    assert metadata["annotations"][names.RUN_HASH_ANNOTATION] != "forged"
    placement = ("nodeSelector", "affinity", "topologySpreadConstraints", "priorityClassName", "runtimeClassName")
    for field in (*placement, "serviceAccountName"):
        assert spec[field] == TEMPLATE[field]
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert (container(pod)["image"], container(pod)["imagePullPolicy"]) == (TEMPLATE["image"], "Always")


def test_dollars_arrive_as_they_are_written() -> None:
    pod = one_pod(CASES["every-field-of-the-pod-template"])
    raw = [entry for entry in container(pod)["env"] if entry["name"] == "PRICE"]

    assert raw == [{"name": "PRICE", "value": "$$(HOME) costs $$5"}]
    assert escape_dollars("a$b$$c") == "a$$b$$$$c"
    assert [entry["name"] for entry in container(pod)["env"]].count("HOME") == 1


def test_the_run_reads_back_in_the_pod() -> None:
    run = make_run()
    worker = WorkerRun.from_wire(json.loads(variables(one_pod(build_job(run)))[contract.RUN_ENV]))
    imported = ImportRun.from_wire(json.loads(variables(CASES["import-of-a-package"][0])[contract.RUN_ENV]))

    assert (worker.training_hash, worker.steps) == (run.training_hash, run.steps)
    assert (imported.spec.layout.csv is not None, imported.workers) == (True, 1)
    assert imported.spec.pod_template is None


def test_a_claim_that_appears_twice_is_one_volume() -> None:
    pod = one_pod(CASES["import-into-the-source-volume"])
    claims = [volume for volume in pod["spec"]["volumes"] if "persistentVolumeClaim" in volume]
    mounts = [(mount["mountPath"], mount["readOnly"]) for mount in container(pod)["volumeMounts"][:2]]

    assert len(claims) == 1
    assert mounts == [(contract.DATA_MOUNT, False), (contract.SOURCE_MOUNT, True)]


def test_a_volume_of_the_user_s_at_tmp_takes_the_place_of_ours() -> None:
    volumes = [{"name": "big", "mountPath": "/tmp", "emptyDir": {}, "readOnly": False}]
    pod = one_pod(build_job(make_run(workers={"podTemplate": {"volumes": volumes}})))
    names_at_tmp = [mount["name"] for mount in container(pod)["volumeMounts"] if mount["mountPath"] == "/tmp"]

    assert names_at_tmp == ["big"]
    assert "oarlock-tmp" not in {volume["name"] for volume in pod["spec"]["volumes"]}


def test_the_source_folder_is_told_only_when_there_is_one() -> None:
    folders, package = one_pod(CASES["import-of-folders"]), one_pod(CASES["import-of-a-package"])
    root = one_pod(build_import(make_dataset_spec(source={"volume": {"claim": "raw-images"}})))

    assert variables(folders)[contract.SOURCE_DIR_ENV] == "/oarlock/source/fashion"
    assert variables(root)[contract.SOURCE_DIR_ENV] == "/oarlock/source"
    assert contract.SOURCE_DIR_ENV not in variables(package)


def test_a_claim_is_owned_only_when_its_deletion_was_asked_for() -> None:
    kept, deleted = CASES["shortest-job"][0], CASES["import-of-folders"][0]

    assert "ownerReferences" not in kept["metadata"]
    assert deleted["metadata"]["ownerReferences"][0]["uid"] == DATASET.uid
    assert kept["metadata"]["labels"][names.JOB_LABEL] == JOB.name


def test_a_run_that_fits_the_status_fits_the_variable() -> None:
    text = "\N{SNOWMAN}$" * 50
    variables_of_user = [{"name": "A" * 200 + str(n), "value": text} for n in range(8)]
    run = make_run(workers={"podTemplate": {"env": variables_of_user}})
    size = len(json.dumps(run.to_wire(), ensure_ascii=False).encode())

    assert size > MAX_FROZEN_RUN_BYTES * 0.7
    assert bool(list(find_oversized_run(run))) is (size > MAX_FROZEN_RUN_BYTES)
    assert len(escape_dollars(format_worker_run(run)).encode()) <= contract.MAX_RUN_BYTES


def test_a_short_startup_deadline_still_leaves_time_to_join() -> None:
    pod = one_pod(build_job(make_run(), policy=RunPolicy(startup_deadline_seconds=1)))

    assert variables(pod)[contract.JOIN_TIMEOUT_SECONDS_ENV] == "1"
