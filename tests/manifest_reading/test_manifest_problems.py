"""Wrong manifests: each is refused by file, line and path, with a remedy."""

import itertools
import textwrap
from pathlib import Path

import pytest

from oarlock.manifests.overrides import parse_override
from oarlock.manifests.problems import ManifestsError
from oarlock.manifests.reading import read_manifests

HEAD = """\
apiVersion: oarlock.dev/v1alpha1
kind: TrainingJob
metadata: {name: lenet}
spec:
  dataset: {name: digits}
"""


def job(*lines: str) -> str:
    """Return a job whose further fields begin on line 6."""
    return HEAD + "".join(f"  {line}\n" for line in lines)


MODEL = "model: {name: lenet}"
CASES = {
    "unknown field": (job(MODEL, "recipe:", "  epoch: 3"), 8, "spec.recipe.epoch is not a field: did you mean epochs?"),
    "snake case": (job(MODEL, "recipe: {batch_size: 3}"), 7, "did you mean batchSize?"),
    "field of another place": (job(MODEL, "epochs: 3"), 7, "spec.epochs is not a field"),
    "text for a number": (job(MODEL, "recipe:", "  epochs: many"), 8, "spec.recipe.epochs must be a number, got 'many'"),
    "quoted number": (job(MODEL, 'workers: {nodes: "two"}'), 7, "spec.workers.nodes must be a whole number"),
    "half a node": (job(MODEL, "workers:", "", "  nodes: 1.5"), 9, "spec.workers.nodes must be a whole number"),
    "no node": (job(MODEL, "workers: {nodes: 0}"), 7, "spec.workers.nodes must be at least 1, got 0"),
    "list for an object": (job(MODEL, "recipe:", "  - epochs: 3"), 7, "spec.recipe must be an object"),
    "number for a name": (job("model: {name: 7}"), 6, "spec.model.name must be a text, got 7: put it in quotes"),
    "wrong choice": (
        job(MODEL, "recipe:", "  optimizer:", "    name: adamm"),
        9,
        "spec.recipe.optimizer.name must be one of",
    ),
    "bare on": (
        job(MODEL, "recipe:", "  compile: on"),
        8,
        'spec.recipe.compile must be one of auto, on, off, got True: write "on": without quotes YAML reads on as true',
    ),
    "text for a boolean": (job(MODEL, "runPolicy: {suspend: maybe}"), 7, "spec.runPolicy.suspend must be true or false"),
    "no dataset": (job(MODEL).replace("  dataset: {name: digits}\n", ""), 4, "spec must have a dataset for a model"),
    "no model": (job(), 4, "spec must"),
    "two models": (job("model:", "  name: lenet", "  timm: {name: x}"), 6, "spec.model must"),
    "unknown model": (job("model: {name: lenett}"), 6, "spec.model.name"),
    "infinite rate": (job(MODEL, "recipe: {optimizer: {learningRate: .inf}}"), 7, "spec.recipe.optimizer.learningRate"),
    "negative rate": (job(MODEL, "recipe: {optimizer: {learningRate: -5e-4}}"), 7, "must be greater than 0.0, got -0.0005"),
    "given twice": (job(MODEL, "workers: {nodes: 1}", MODEL), 8, "spec.model is given twice, first on line 6"),
    "tab": (HEAD + "\tmodel: {name: lenet}\n", 6, "must be YAML"),
    "unclosed bracket": (job("model: {name: lenet", "x: y"), 7, "must be YAML"),
    "bad indentation": (job(MODEL, " workers: {nodes: 1}"), 7, "must be YAML"),
    "own tag": (job("model: !!python/object:os.system {name: lenet}"), 6, "spec.model must not have a YAML tag"),
    "own scalar tag": (job("model: {name: !secret lenet}"), 6, "spec.model.name must not have a YAML tag"),
    "undefined alias": (job("model: *nobody"), 6, "undefined alias"),
    "contains itself": (job("model: &m {name: lenet, python: *m}"), 6, "must not contain itself"),
    "unknown kind": (job(MODEL).replace("TrainingJob", "TrainJob"), 2, "did you mean TrainingJob?"),
    "kind of others": (job(MODEL).replace("TrainingJob", "Secret"), 2, "kind must be one of Dataset, TrainingJob"),
    "wrong version": (job(MODEL).replace("v1alpha1", "v1"), 1, "apiVersion must be oarlock.dev/v1alpha1 for a TrainingJob"),
    "no name": (job(MODEL).replace("{name: lenet}\nspec", "{}\nspec"), 3, "metadata.name must be a text, got nothing"),
    "number as name": (job(MODEL).replace("metadata: {name: lenet}", "metadata: {name: 12}"), 3, "metadata.name must be a text, got 12"),
    "capitals in a name": (job(MODEL).replace("metadata: {name: lenet}", "metadata: {name: LeNet}"), 3, "metadata.name must begin with"),
    "long name": (job(MODEL).replace("metadata: {name: lenet}", f"metadata: {{name: {'x' * 41}}}"), 3, "at most 40 characters"),
    "number as label": (job(MODEL).replace("{name: lenet}\nspec", "{name: lenet, labels: {a: 1}}\nspec"), 3, "metadata.labels.a must be a text"),
    "unknown metadata": (job(MODEL).replace("{name: lenet}\nspec", "{name: lenet, label: {}}\nspec"), 3, "metadata.label is not a field: did you mean labels?"),
    "unknown top": (job(MODEL) + "spek: {}\n", 7, "spek is not a field: did you mean spec?"),
    "no spec": ("\n".join(HEAD.splitlines()[:3]), 1, "spec must be an object, got nothing"),
    "text": ("hello\n", 1, "the document must be an object"),
    "list": ("- a\n- b\n", 1, "the document must be an object"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "line", "message"), CASES.values(), ids=CASES.keys())
def test_manifest_is_refused_by_line_and_path_when_it_is_wrong(
    tmp_path: Path, text: str, line: int, message: str
) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(text)
    with pytest.raises(ManifestsError) as caught:
        read_manifests([file])

    problem = next((p for p in caught.value.problems if message in str(p)), None)
    assert problem, str(caught.value)
    assert problem.place == f"{file}:{line}"


def test_everything_is_said_at_once_when_several_files_are_wrong(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(job(MODEL, "workers: {nodes: 0}", "recipe: {epochs: -1}"))
    (tmp_path / "b.yaml").write_text("kind: [\n")
    (tmp_path / "c.yml").write_text(
        job(MODEL) + "---\n" + job("model: {nam: lenet}").replace("{name: lenet}\n", "{name: other}\n")
    )
    (tmp_path / "d.txt").write_text("not read")
    with pytest.raises(ManifestsError) as caught:
        read_manifests([tmp_path])

    places = [Path(problem.place).name for problem in caught.value.problems]
    assert {"a.yaml:7", "a.yaml:8", "b.yaml:2", "c.yml:13"} <= set(places)


def test_same_object_twice_is_refused_when_it_comes_from_two_files(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(job(MODEL))
    with pytest.raises(ManifestsError, match=r"b\.yaml:3: metadata\.name must be another one than .*a\.yaml:3"):
        read_manifests([tmp_path])


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "must be there"), (b"\xff\xfe", "must be UTF-8 text"), (b"# nothing\n---\n", "must hold a manifest")],
)
def test_file_is_named_when_it_holds_no_manifest(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "x.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ManifestsError, match=message):
        read_manifests([file])


def test_folder_is_named_when_it_holds_no_manifests(tmp_path: Path) -> None:
    with pytest.raises(ManifestsError, match="the folder must hold"):
        read_manifests([tmp_path])


def test_numbers_and_texts_are_read_as_kubectl_reads_them(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    recipe = "recipe: {optimizer: {name: sgd, learningRate: 5e-2, weightDecay: 5E-4}, batchSize: 0x20, seed: 010}"
    file.write_text(
        job(
            MODEL,
            recipe,
            "checkpoints:",
            "workers: {podTemplate: {env: [{name: WHEN, value: 2024-01-01}, {name: AT, value: 12:30}]}}",
        )
    )
    (manifest,) = read_manifests([file])

    assert manifest.body["spec"]["recipe"]["optimizer"] == {"name": "sgd", "learningRate": 0.05, "weightDecay": 0.0005}
    assert (manifest.body["spec"]["recipe"]["batchSize"], manifest.body["spec"]["recipe"]["seed"]) == (32, 8)
    assert [variable["value"] for variable in manifest.body["spec"]["workers"]["podTemplate"]["env"]] == [
        "2024-01-01",
        "12:30",
    ]
    assert "checkpoints" not in manifest.body["spec"]


def test_what_a_server_added_is_dropped_when_a_manifest_comes_from_one(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    added = "{name: lenet, uid: x, resourceVersion: '7', generation: 2}"
    file.write_text(job(MODEL).replace("metadata: {name: lenet}", f"metadata: {added}") + "status: {phase: Training}\n")
    (manifest,) = read_manifests([file])

    assert manifest.body["metadata"] == {"name": "lenet", "namespace": "default"}
    assert "status" not in manifest.body


def test_anchors_and_merges_work_when_manifests_share_parts(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(
        job("model: &m {name: lenet}", "recipe:", "  optimizer: {<<: {name: sgd, momentum: 0.5}, momentum: 0.8}")
    )
    (manifest,) = read_manifests([file])

    assert manifest.body["spec"]["recipe"]["optimizer"] == {"name": "sgd", "momentum": 0.8}


def test_document_is_refused_when_aliases_make_it_huge(tmp_path: Path) -> None:
    file = tmp_path / "bomb.yaml"
    levels = "\n".join(f"{new}: &{new} [{', '.join(['*' + old] * 9)}]" for old, new in itertools.pairwise("abcdefg"))
    file.write_text(f"a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n{levels}\n")
    with pytest.raises(ManifestsError, match="must have at most 100000 values"):
        read_manifests([file])


def test_value_is_replaced_when_it_is_set_on_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(job(MODEL, "recipe: {epochs: 30}"))
    texts = [
        "spec.recipe.epochs=3",
        "spec.recipe.optimizer.name=sgd",
        "spec.recipe.compile=off",
        "TrainingJob/lenet:spec.checkpoints.keep=1",
    ]
    (manifest,) = read_manifests([file], overrides=[parse_override(text) for text in texts])

    assert manifest.body["spec"]["recipe"] == {"epochs": 3, "optimizer": {"name": "sgd"}, "compile": "off"}
    assert manifest.body["spec"]["checkpoints"] == {"keep": 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("spec.recipe.epochs=many", r"^--set spec.recipe.epochs=many: spec.recipe.epochs must be a number"),
        ("spec.recipe.epoch=3", r"did you mean epochs\?"),
        ("spec.model.name.x=3", "is below a value"),
        ("Dataset:spec.split.seed=3", "there is no Dataset here"),
    ],
)
def test_option_is_named_when_what_it_sets_is_wrong(tmp_path: Path, change: str, message: str) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(job(MODEL))
    with pytest.raises(ManifestsError, match=message):
        read_manifests([file], overrides=[parse_override(change)])


def test_example_of_the_shortest_manifests_is_accepted(tmp_path: Path) -> None:
    file = tmp_path / "both.yaml"
    file.write_text(
        textwrap.dedent("""\
            apiVersion: oarlock.dev/v1alpha1
            kind: Dataset
            metadata: {name: digits}
            spec:
              source: {volume: {claim: raw}}
              layout: {folders: {}}
            ---
            """)
        + job(MODEL)
    )
    assert [manifest.kind for manifest in read_manifests([file])] == ["Dataset", "TrainingJob"]
