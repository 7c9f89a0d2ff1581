"""What the documents and examples promise: every manifest is valid, every command of the README is run by a test."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from oarlock.local.volumes import LOCAL_FOLDER_ANNOTATION
from oarlock.manifests.config_maps import read_config_maps
from oarlock.manifests.reading import read_manifests
from oarlock_api.crd import dataset_crd, training_job_crd
from oarlock_api.resolve import Defaults, ReadyDataset, resolve
from oarlock_api.v1alpha1 import DatasetStatus
from oarlock_api.validation import validate_dataset, validate_training_job

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").rglob("*.yaml"))
DEFINITIONS = {"Dataset": dataset_crd(), "TrainingJob": training_job_crd()}
README = (ROOT / "README.md").read_text()

RUN_HERE = ("oarlock validate examples/mnist/", "oarlock run --dry-run examples/mnist/")
RUN_ELSEWHERE = {
    "make demo": "continuous integration's machine, by the same recipe as `oarlock run examples/mnist/`",
    "make test": "continuous integration",
    "make images": "needs a container engine; hadolint reads the Dockerfile in `make check`",
    "oarlock run photos/": "tests/cli",
    "oarlock run examples/mnist/": "tests/cli",
    "oarlock doctor digits-lenet": "tests/cli and tests/kube, with jobs of theirs",
    "helm install": "tests/chart",
    "kubectl apply": "tests/kube",
    "kubectl get": "tests/kube",
    "kubectl describe": "tests/kube",
    "kubectl patch": "tests/kube",
    "kubectl delete": "tests/kube",
}


def manifests(text: str) -> Iterator[dict[str, Any]]:
    yield from (manifest for manifest in yaml.safe_load_all(text) if manifest)


def check(manifest: dict[str, Any], folder: Path = ROOT) -> None:
    if manifest["kind"] == "Kustomization":
        assert read_config_maps(manifest, folder=folder)
        return
    if manifest["kind"] == "PersistentVolumeClaim":
        assert manifest["metadata"]["annotations"][LOCAL_FOLDER_ANNOTATION]
        return
    validate = {"Dataset": validate_dataset, "TrainingJob": validate_training_job}[manifest["kind"]]
    schema = DEFINITIONS[manifest["kind"]]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]

    assert validate(manifest["spec"], name=manifest["metadata"]["name"]).findings == ()
    jsonschema.validate(manifest, _draft_2020(schema))


def _draft_2020(schema: Any) -> Any:
    """Structural schemas say exclusiveMinimum: true beside minimum, as JSON Schema did in draft 4."""
    if isinstance(schema, list):
        return [_draft_2020(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    converted = {key: _draft_2020(value) for key, value in schema.items()}
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if converted.get(exclusive) is True:
            converted[exclusive] = converted.pop(bound)
    return converted


def commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    joined = "\n".join(blocks).replace("\\\n", " ")
    return [" ".join(line.split()).removeprefix(".venv/bin/") for line in joined.splitlines() if line.strip()]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_an_example_is_valid(path: Path) -> None:
    for manifest in manifests(path.read_text()):
        check(manifest, path.parent)


@pytest.mark.parametrize("folder", sorted({path.parent for path in EXAMPLES}), ids=lambda path: path.name)
def test_the_manifests_of_an_example_go_together(folder: Path) -> None:
    """Tasks, models, losses, metrics and augmentation; each job's data and first weights are in its folder."""
    found = read_manifests([folder])
    names = {(manifest.kind, manifest.name) for manifest in found}

    for job in (manifest.body["spec"] for manifest in found if manifest.kind == "TrainingJob"):
        begins_with = job.get("model", {}).get("initFrom", {}).get("job")
        assert "dataset" not in job or ("Dataset", job["dataset"]["name"]) in names
        assert begins_with is None or ("TrainingJob", begins_with) in names


def test_the_manifests_of_the_readme_are_valid() -> None:
    found = [
        manifest for block in re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL) for manifest in manifests(block)
    ]

    assert {manifest["kind"] for manifest in found} == {"Dataset", "TrainingJob"}
    for manifest in found:
        check(manifest)


def test_the_example_for_a_gpu_cluster_resolves_to_sixteen_processes() -> None:
    [dataset] = manifests((ROOT / "examples/gpu-cluster/dataset.yaml").read_text())
    [job] = manifests((ROOT / "examples/gpu-cluster/job.yaml").read_text())
    spec = validate_training_job(job["spec"], name="a").model
    data = validate_dataset(dataset["spec"], name="a").model
    assert spec is not None
    assert data is not None
    status = DatasetStatus(
        version="ab",
        claim="c",
        path="p",
        counts={"train": 900_000, "validation": 100_000},
        class_count=50,
        sample_shape=[64, 64, 3],
    )

    run = resolve(
        spec,
        name="products-resnet",
        generation=1,
        dataset=ReadyDataset(name="products", uid="u", task=data.task, status=status),
        defaults=Defaults(image="trainer"),
        claim_access_modes={"c": ["ReadWriteMany"]},
    )

    assert run.workers.nodes * run.workers.processes_per_node == 16
    assert (run.recipe.batch_size, run.recipe.micro_batch_size) == (4096, 256)


def test_every_command_of_the_readme_is_run_by_a_test() -> None:
    known = (*RUN_HERE, *RUN_ELSEWHERE)

    assert commands()
    assert [command for command in commands() if not command.startswith(known)] == []


@pytest.mark.parametrize("command", RUN_HERE)
def test_a_command_of_the_readme_works_when_it_is_run_as_written(command: str, tmp_path: Path) -> None:
    assert command in commands()
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    program, *arguments = shlex.split(command)

    done = subprocess.run(
        [str(Path(sys.executable).with_name(program)), *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_link_of_the_documents_leads_somewhere() -> None:
    for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.relative_to(ROOT)}: {target}"


def test_every_file_that_the_architecture_names_exists() -> None:
    rows = re.findall(r"^\|[^|]+\| (.+?) \|$", (ROOT / "docs/architecture.md").read_text(), flags=re.MULTILINE)
    for row in rows:
        first, *others = re.findall(r"`([^`]+)`", row) or [""]
        if not first:
            continue
        for name in (ROOT / first, *((ROOT / first).parent / other for other in others)):
            assert name.exists(), name


def test_every_decision_is_in_the_index() -> None:
    index = (ROOT / "docs/decisions/README.md").read_text()

    assert [path.name for path in (ROOT / "docs/decisions").glob("0*.md") if path.name not in index] == []
