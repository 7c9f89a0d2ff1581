"""What runs in which order, what is missing, and what may not change."""

import json
from pathlib import Path
from typing import Any

import pytest

from oarlock.local.runs_folder import RunsFolder
from oarlock.local.volumes import LOCAL_FOLDER_ANNOTATION
from oarlock.manifests.problems import ManifestsError
from oarlock.manifests.reading import Manifest
from oarlock.running.changes import ASKED_ANNOTATION, find_change, format_asked
from oarlock.running.inputs import read_inputs

API = "apiVersion: oarlock.dev/v1alpha1"


def dataset(name: str, source: str = "package: {name: x, version: '1', path: y.csv}") -> str:
    return f"---\n{API}\nkind: Dataset\nmetadata: {{name: {name}}}\nspec: {{source: {{{source}}}, layout: {{csv: {{}}}}}}\n"


def job(name: str, data: str, model: str = "name: mlp") -> str:
    return f"---\n{API}\nkind: TrainingJob\nmetadata: {{name: {name}}}\nspec: {{dataset: {{name: {data}}}, model: {{{model}}}}}\n"


def read(folder: Path, *texts: str, claims: tuple[str, ...] = ()) -> list[str]:
    file = folder / "all.yaml"
    file.write_text("".join(texts))
    manifests = read_inputs([file], runs=RunsFolder(root=folder / "runs"), claims=claims)
    return [manifest.name for manifest in manifests]


def test_each_job_follows_its_data_when_manifests_are_mixed(tmp_path: Path) -> None:
    names = read(
        tmp_path, job("j2", "d2"), dataset("d3"), job("j1", "d1"), dataset("d1"), dataset("d2"), job("k1", "d1")
    )

    assert names == ["d2", "j2", "d1", "j1", "k1", "d3"]


def test_a_job_follows_the_one_whose_weights_it_begins_with(tmp_path: Path) -> None:
    def begin_with(other: str) -> str:
        return f"name: mlp, initFrom: {{job: {other}}}"

    assert read(tmp_path, job("b", "d", begin_with("a")), dataset("d"), job("a", "d")) == ["d", "a", "b"]
    circle = [job("b", "d", begin_with("a")), dataset("d"), job("a", "d", begin_with("b"))]
    assert sorted(read(tmp_path, *circle)) == ["a", "b", "d"]
    with pytest.raises(ManifestsError, match=r"spec\.model\.initFrom\.job must name a TrainingJob .* got nobody"):
        read(tmp_path, job("b", "d", begin_with("nobody")), dataset("d"))


def test_files_beside_a_kustomization_become_a_config_map_before_the_job_that_needs_it(tmp_path: Path) -> None:
    spec = "{script: {command: [train.py]}, code: {configMap: my-code}}"
    (tmp_path / "job.yaml").write_text(f"{API}\nkind: TrainingJob\nmetadata: {{name: j}}\nspec: {spec}\n")
    (tmp_path / "train.py").write_text("print('héllo')\n")
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["job.yaml"],
        "configMapGenerator": [{"name": "my-code", "files": ["train.py", "again.py=train.py"]}],
        "generatorOptions": {"disableNameSuffixHash": True},
    }

    def read_folder() -> list[Manifest]:
        (tmp_path / "kustomization.yaml").write_text(json.dumps(kustomization))
        return read_inputs([tmp_path], runs=RunsFolder(root=tmp_path / "runs"))

    first, second = read_folder()

    assert (first.kind, first.name, second.name) == ("ConfigMap", "my-code", "j")
    assert first.body["data"] == {"train.py": "print('héllo')\n", "again.py": "print('héllo')\n"}

    stripped = {key: value for key, value in kustomization.items() if key not in {"apiVersion", "kind"}}
    (tmp_path / "kustomization.yaml").write_text(json.dumps(stripped))
    again, _ = read_inputs([tmp_path], runs=RunsFolder(root=tmp_path / "runs"))
    assert again.body == first.body, "to Kustomize, the name of the file says what it is"

    kustomization |= {"namePrefix": "x-", "generatorOptions": {}}
    with pytest.raises(ManifestsError) as caught:
        read_folder()
    assert "namePrefix" in str(caught.value)
    assert "disableNameSuffixHash" in str(caught.value)

    (tmp_path / "kustomization.yaml").unlink()
    with pytest.raises(ManifestsError, match=r"a kustomization\.yaml that makes it of files"):
        read_inputs([tmp_path], runs=RunsFolder(root=tmp_path / "runs"))


def test_missing_dataset_is_named_by_line(tmp_path: Path) -> None:
    with pytest.raises(ManifestsError, match=r"all\.yaml:5: spec\.dataset\.name must name a Dataset .* got nowhere"):
        read(tmp_path, job("j", "nowhere"))


def test_missing_claim_is_named_with_the_option_that_helps(tmp_path: Path) -> None:
    with pytest.raises(ManifestsError, match="--claim raw=FOLDER"):
        read(tmp_path, dataset("d", "volume: {claim: raw}"))


def test_claim_stands_for_a_folder_when_the_option_says_so(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    assert read(tmp_path, dataset("d", "volume: {claim: raw}"), claims=(f"raw={tmp_path}/images",)) == ["raw", "d"]


def test_option_takes_the_place_of_a_manifest_when_both_name_the_claim(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    texts = (claim("nowhere"), dataset("d", "volume: {claim: raw}"))
    assert read(tmp_path, *texts, claims=(f"raw={tmp_path}/images",)) == ["raw", "d"]


@pytest.mark.parametrize("option", ["raw", "raw=", "=folder"])
def test_option_is_refused_when_it_has_another_form(tmp_path: Path, option: str) -> None:
    with pytest.raises(ManifestsError, match="must be NAME=FOLDER"):
        read(tmp_path, dataset("d"), claims=(option,))


def claim(folder: str) -> str:
    annotation = f"{{{LOCAL_FOLDER_ANNOTATION}: {folder}}}"
    return f"---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{name: raw, annotations: {annotation}}}\nspec: {{}}\n"


def test_folder_of_a_claim_is_relative_to_its_manifest(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    file = tmp_path / "claim.yaml"
    file.write_text(claim("./images"))
    (manifest,) = read_inputs([file], runs=RunsFolder(root=tmp_path / "runs"))

    assert manifest.body["metadata"]["annotations"][LOCAL_FOLDER_ANNOTATION] == str(tmp_path / "images")


def test_folder_of_a_claim_is_named_when_it_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ManifestsError, match=r"all\.yaml:4: .* must name a folder that is there, got .*/nowhere"):
        read(tmp_path, claim("nowhere"))


def make_job(
    status: dict[str, Any] | None = None, annotations: dict[str, str] | None = None, **spec: Any
) -> dict[str, Any]:
    whole = {"dataset": {"name": "d"}, "model": {"name": "mlp"}, **spec}
    return {
        "kind": "TrainingJob",
        "metadata": {"annotations": annotations or {}},
        "spec": whole,
        "status": status or {},
    }


ACCEPTED = {"run": {"hash": "x"}}


@pytest.mark.parametrize(
    ("known", "now", "path"),
    [
        (make_job(ACCEPTED), make_job(recipe={"epochs": 3}), "spec.recipe.epochs"),
        (make_job(ACCEPTED), make_job(model={"name": "lenet"}), "spec.model.name"),
        (make_job(ACCEPTED), make_job(runPolicy={"backoffLimit": 9}), None),
        (make_job(ACCEPTED), make_job(workers={"nodes": 1}), None),
        (make_job(), make_job(recipe={"epochs": 3}), None),
    ],
    ids=["recipe", "model", "policy may change", "a default spelt out", "not accepted yet"],
)
def test_first_difference_is_found_when_a_frozen_field_changed(
    known: dict[str, Any], now: dict[str, Any], path: str | None
) -> None:
    change = find_change(known, now)
    assert (change.path if change else None) == path


def test_workers_that_were_fitted_do_not_count_as_a_change() -> None:
    asked = make_job(workers={"nodes": 8, "gpusPerNode": 8})
    known = make_job(ACCEPTED, {ASKED_ANNOTATION: format_asked(asked)}, workers={"nodes": 1, "gpusPerNode": 0})

    assert find_change(known, asked) is None
    changed = find_change(known, make_job(workers={"nodes": 4, "gpusPerNode": 8}))
    assert changed
    assert changed.path == "spec.workers.nodes"


STORED_BEFORE = json.loads((Path(__file__).parents[1] / "api/stored_before.json").read_text())


@pytest.mark.parametrize("name", STORED_BEFORE)
def test_a_run_of_the_version_before_goes_on(name: str) -> None:
    written, stored = STORED_BEFORE[name]["written"], dict(STORED_BEFORE[name]["stored"])
    stored.pop("runPolicy", None)
    loss = {"recipe": {"loss": {"name": "crossEntropy"}}}
    known = make_job({"run": {"hash": "x", **loss}}, {ASKED_ANNOTATION: json.dumps(stored)})

    assert find_change(known, make_job(**written)) is None
    changed = {**written, "recipe": {**written.get("recipe", {}), "seed": 3}}
    assert find_change(known, make_job(**changed))
