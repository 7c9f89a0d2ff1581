"""Malformed manifests, pushed into a real API server by a real kubectl: each is answered, and none does harm."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from api.malformed import BAD_DATASETS, BAD_JOBS, BAD_NAMES, DATASET, JOB, job
from kube.operator_process import OperatorProcess
from kube.paper_node import PaperNode
from kube.scene import Object, Scene, make_job

from control_plane.server import ControlPlane
from oarlock_api.findings import Finding, describe_findings
from oarlock_api.validation import validate_dataset, validate_training_job

pytestmark = pytest.mark.kube

PLURALS = {"TrainingJob": "trainingjobs", "Dataset": "datasets"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A manifest, and what must be said of it, whoever says it."""

    kind: str
    name: str
    spec: Object
    path: str
    says: str = ""

    @property
    def manifest(self) -> Object:
        return {
            "apiVersion": "oarlock.dev/v1alpha1",
            "kind": self.kind,
            "metadata": {"name": self.name},
            "spec": self.spec,
        }

    @property
    def has_unknown_field(self) -> bool:
        """The API server drops fields that it does not know, unless kubectl finds them first."""
        return any(finding.path == self.path and finding.rule == "is not a field" for finding in find(self))


def find(case: Case, spec: Object | None = None) -> tuple[Finding, ...]:
    validate = validate_training_job if case.kind == "TrainingJob" else validate_dataset
    return validate(case.spec if spec is None else spec, name=case.name).findings


# What is not JSON cannot be sent.
SENDABLE_JOBS = [row for row in BAD_JOBS if "Infinity" not in json.dumps(row[0])]


def with_variables(count: int, length: int) -> Object:
    variables = [{"name": f"A{number}", "value": "x" * length} for number in range(count)]
    return {"workers": {"podTemplate": {"env": variables}}}


MALFORMED = [
    *(
        Case(kind="TrainingJob", name=f"job-{number}", spec=spec, path=path, says=says)
        for number, (spec, path, says) in enumerate(SENDABLE_JOBS)
    ),
    *(
        Case(kind="Dataset", name=f"data-{number}", spec=spec, path=path, says=says)
        for number, (spec, path, says) in enumerate(BAD_DATASETS)
    ),
    *(Case(kind="TrainingJob", name=name, spec=JOB, path="metadata.name") for name in BAD_NAMES),
    *(Case(kind="Dataset", name=name, spec=DATASET, path="metadata.name") for name in BAD_NAMES),
    Case(kind="TrainingJob", name="large", spec=job(**with_variables(100, 4096)), path="metadata.annotations"),
    Case(kind="TrainingJob", name="nulls", spec=job(recipe={"epochs": None, "optimizer": [{}]}), path="spec.recipe"),
    Case(kind="TrainingJob", name="list", spec=[job()], path="spec"),  # type: ignore[arg-type]  # a wrong type is the point
    Case(kind="Dataset", name="rows", spec={**DATASET, "task": "tabular"}, path="spec.task"),
    Case(kind="Dataset", name="encoded", spec={**DATASET, "image": {"encoding": "png"}}, path="spec.image.encoding"),
    Case(kind="Dataset", name="text", spec="raw-photos", path="spec"),  # type: ignore[arg-type]  # likewise
]

WAITING = {
    "no-dataset": (job(dataset={"name": "nowhere"}), "no Dataset nowhere in this namespace. Apply it"),
    "bad-dataset": (
        job(dataset={"name": "encoded"}),
        "Dataset encoded is Invalid: spec.image.encoding is not supported yet",
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What has become of all of them, in one namespace with one operator."""

    scene: Scene
    operator: OperatorProcess
    refused: list[str]
    """What kubectl said, an item for each manifest that was not accepted."""
    objects: dict[tuple[str, str], Object]
    children: list[str] = field(default_factory=list)

    def refusal(self, case: Case) -> str:
        return next((text for text in self.refused if f'"{case.name}"' in text or f"/{file_name(case)}" in text), "")


@pytest.fixture(scope="module")
def outcome(control_plane: ControlPlane, account: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """Apply them all."""
    folder = tmp_path_factory.mktemp("malformed")
    scene = Scene(control_plane, control_plane.create_namespace("malformed"), folder)
    with OperatorProcess(account, folder / "operator", namespace=scene.namespace) as operator:
        strict, lenient = folder / "strict", folder / "lenient"
        for case in MALFORMED:
            write(case.manifest, (strict if case.has_unknown_field else lenient) / file_name(case))
        for name, (spec, _) in WAITING.items():
            write(Case(kind="TrainingJob", name=name, spec=spec, path="").manifest, lenient / f"{name}.yaml")
        said = scene.kubectl("apply", "--validate=false", "-f", str(lenient), check=False)
        said += scene.kubectl("apply", "-f", str(strict), check=False)
        objects = scene.wait_for(lambda: read_answered(scene), "some manifests are not answered")
        children = scene.kubectl("get", "pods,services,persistentvolumeclaims", "-o", "name").split()
        yield Outcome(scene=scene, operator=operator, refused=split_errors(said), objects=objects, children=children)


def file_name(case: Case) -> str:
    return f"{case.kind}-{case.name}.yaml"


def write(manifest: Object, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(manifest))  # quotes keep a text a text


def split_errors(said: str) -> list[str]:
    return re.split(r"(?m)^(?=Error from server|error:|The (?:TrainingJob|Dataset) |error validating)", said)[1:]


def read_answered(scene: Scene) -> dict[tuple[str, str], Object] | None:
    """Return all objects, once the operator has said something of each."""
    objects = json.loads(scene.kubectl("get", "tj,dset", "-o", "json"))["items"]
    if not all((item.get("status") or {}).get("observedGeneration") for item in objects):
        return None
    return {(item["kind"], item["metadata"]["name"]): item for item in objects}


@pytest.mark.parametrize("case", MALFORMED, ids=lambda case: f"{case.kind}-{case.name}-{case.path}")
def test_manifest_is_answered_with_path_rule_and_remedy_when_it_is_malformed(outcome: Outcome, case: Case) -> None:
    refusal, accepted = outcome.refusal(case), outcome.objects.get((case.kind, case.name))

    if case.has_unknown_field:
        assert "unknown field" in refusal
        assert case.path.split(".")[-1] in refusal
    elif accepted is None:
        assert re.sub(r"\[\d+\]", "", case.path) in re.sub(r"\[\d+\]", "", refusal), outcome.refused
    else:
        assert_invalid(case, accepted)


def assert_invalid(case: Case, stored: Object) -> None:
    status = stored["status"]
    [valid] = [condition for condition in status["conditions"] if condition["type"] == "Valid"]
    findings = find(case, stored["spec"])
    assert (status["phase"], valid["status"], valid["reason"]) == ("Invalid", "False", "InvalidSpec")
    assert valid["message"] == describe_findings(findings)
    assert all(text in valid["message"] for text in (case.path, case.says))
    assert all(text in status["message"] for text in (case.path, case.says))
    assert all(finding.remedy for finding in findings)


def test_at_least_sixty_malformed_manifests_are_pushed(outcome: Outcome) -> None:
    invalid = [item for item in outcome.objects.values() if item["status"]["phase"] == "Invalid"]

    assert len(outcome.refused) + len(invalid) == len(MALFORMED) >= 60


@pytest.mark.parametrize("name", WAITING)
def test_job_says_what_it_waits_for_when_its_dataset_cannot_be_used(outcome: Outcome, name: str) -> None:
    scene = outcome.scene

    scene.wait_for(lambda: WAITING[name][1] in scene.status(name)["message"], "the Dataset is not named")

    assert scene.status(name)["phase"] == "WaitingForData"


def test_nothing_is_created_for_malformed_manifests(outcome: Outcome) -> None:
    assert outcome.children == []


def test_operator_is_alive_and_surprised_by_nothing(outcome: Outcome) -> None:
    outcome.operator.check()

    assert outcome.operator.is_ready()
    assert "Traceback" not in outcome.operator.read_log()


@pytest.mark.parametrize(
    ("manifest", "says"),
    [
        ({"kind": "TrainingJobs"}, 'no matches for kind "TrainingJobs"'),
        ({"apiVersion": "oarlock.dev/v1"}, 'version "oarlock.dev/v1"'),
        ({"metadata": {}}, "name"),
        ({"spec": job(recipe={"optimizer": {"learningRate": float("inf")}})}, "Inf"),
        ({"spec": job(**with_variables(400, 4096))}, "too large"),
    ],
    ids=["kind", "version", "name", "number", "size"],
)
def test_kubectl_says_why_when_a_manifest_is_none(
    outcome: Outcome, manifest: Object, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "manifest.yaml"
    path.write_text(yaml.safe_dump({**make_job("odd"), **manifest}))

    said = outcome.scene.kubectl("apply", "--validate=false", "-f", str(path), check=False)

    assert says in said
    assert "NotFound" in outcome.scene.kubectl("get", "tj", "odd", check=False)


UNFIT: dict[str, tuple[Object, str, str]] = {
    "batch": ({"recipe": {"batchSize": 5000}}, "spec.recipe.batchSize must be at most", "3000, got 5000: lower it"),
    "processes": ({"recipe": {"batchSize": 2}, "workers": {"gpusPerNode": 0, "processesPerNode": 4}},
                  "spec.recipe.batchSize must be at least", "4, got 2: raise it"),
    "version": ({"dataset": {"name": "digits", "version": "fff"}}, "spec.dataset.version", "got fff: drop version"),
    "overlay": ({"workers": {"podTemplate": {"serviceAccountName": "admin"}}},
                "spec.workers.podTemplate.serviceAccountName must be allowed", "podOverlays.serviceAccounts of the chart"),
    "oversized": (with_variables(10, 900), "spec must resolve to at most", "ConfigMap"),
}  # fmt: skip


def test_valid_job_works_beside_the_malformed_and_one_that_does_not_fit_its_data_is_refused(
    outcome: Outcome, paper_node: PaperNode
) -> None:
    scene = outcome.scene
    scene.import_data()
    scene.apply(make_job(), *(make_job(name, **changes) for name, (changes, _, _) in UNFIT.items()))

    pod = scene.wait_for_pods()[0]
    scene.run_pod(pod)
    scene.end_pod(pod, step=94, steps=94)

    scene.wait_for_phase("Succeeded")
    for name, (_, *parts) in UNFIT.items():
        message = scene.wait_for_phase("Invalid", name=name)["message"]
        assert all(part in message for part in parts), message
    assert [pod["metadata"]["name"] for pod in scene.pods()] == [pod["metadata"]["name"]]
    assert "Traceback" not in outcome.operator.read_log()
