"""The command as people start it: help, checks, refusals, exit codes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from oarlock.local.object_store import ObjectStore

MANIFESTS = """\
apiVersion: oarlock.dev/v1alpha1
kind: Dataset
metadata: {name: digits}
spec: {source: {package: {name: x, version: '1', path: y.csv}}, layout: {csv: {}}}
---
apiVersion: oarlock.dev/v1alpha1
kind: TrainingJob
metadata: {name: lenet}
spec:
  dataset: {name: digits}
  model: {name: lenet}
"""


def oarlock(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
    command = [sys.executable, "-c", "from oarlock.cli import main; main()", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    path = tmp_path / "digits.yaml"
    path.write_text(MANIFESTS)
    return path


def test_help_teaches_with_examples(tmp_path: Path) -> None:
    for words in (["--help"], ["-h"], []):
        text = oarlock(tmp_path, *words).stdout
        assert all(command in text for command in ("run", "validate", "list", "status", "logs"))
    text = oarlock(tmp_path, "run", "--help").stdout
    for words in ("oarlock run examples/mnist/", "--dry-run", "--set", "Ctrl-C", "75 suspended"):
        assert words in text


def test_version_is_printed(tmp_path: Path) -> None:
    assert oarlock(tmp_path, "--version").stdout.startswith("oarlock 0.")


def test_torch_is_not_loaded_when_only_help_is_wanted(tmp_path: Path) -> None:
    script = "import sys; from oarlock.cli import app; assert not {'torch', 'numpy', 'kubernetes', 'kopf'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)


def test_valid_manifests_are_named_by_line(tmp_path: Path, manifests: Path) -> None:
    result = oarlock(tmp_path, "validate", str(manifests))

    assert (result.returncode, result.stderr) == (0, "")
    assert f"{manifests}:7: TrainingJob lenet is valid" in result.stdout


def test_absent_dataset_is_told_when_only_the_job_is_validated(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(MANIFESTS.split("---\n")[1])
    result = oarlock(tmp_path, "validate", "job.yaml")

    assert (result.returncode, result.stdout) == (0, "job.yaml:2: TrainingJob lenet is valid\n")
    assert result.stderr == (
        "job.yaml:5: warning: Dataset digits is not among these files: it must be in the job's namespace\n"
    )


def test_problems_go_to_standard_error_with_exit_code_2(tmp_path: Path, manifests: Path) -> None:
    manifests.write_text(MANIFESTS.replace("model: {name: lenet}", "modle: {name: lenet}"))
    for command in (["validate"], ["run"], ["run", "--dry-run"]):
        result = oarlock(tmp_path, *command, "digits.yaml")

        assert (result.returncode, result.stdout) == (2, "")
        assert "digits.yaml:11: spec.modle is not a field\n    → did you mean model?" in result.stderr
        assert "nothing was done" in result.stderr
    assert not (tmp_path / "oarlock-runs").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "nowhere.yaml"], "nowhere.yaml: the file must be there"),
        (["run", "digits.yaml", "--set", "epochs=3"], "--set needs [KIND[/NAME]:]spec.PATH=VALUE"),
        (
            ["run", "digits.yaml", "--set", "spec.recipe.epochs=many"],
            "--set spec.recipe.epochs=many: spec.recipe.epochs",
        ),
        (["run", "digits.yaml", "--set", "spec.recipe.epochs="], "--set spec.recipe.epochs= has no value"),
        (["run", "digits.yaml", "--set", "spec.foo.bar=3"], "--set spec.foo.bar=3: spec.foo is not a field"),
        (["run", "digits.yaml", "-o", "xml"], "must be text or json"),
        (["run", "digits.yaml", "--nodes", "0"], "--nodes"),
        (["run", "empty"], "holds no class folders"),
        (["run", "digits.yaml", "--claim", "raw=nowhere"], "must name a folder that is there"),
    ],
)
def test_wrong_command_is_refused_with_a_reason(
    tmp_path: Path, manifests: Path, words: list[str], message: str
) -> None:
    (tmp_path / "empty").mkdir()
    result = oarlock(tmp_path, *words)

    assert result.returncode == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert "Traceback" not in result.stderr


def test_dry_run_shows_the_job_resolved_and_what_waits_for_the_data(tmp_path: Path, manifests: Path) -> None:
    result = oarlock(tmp_path, "run", "--dry-run", "digits.yaml", "--set", "spec.workers.nodes=4")

    assert result.returncode == 0
    for words in (
        "# fitted: workers.nodes: 4 → 1",
        "  epochs: 30.0",
        "    learningRate: 0.001",
        "  batchSize: decided when the data is imported",
        "steps: decided when the data is imported",
        "runPolicy:\n  suspend: false\n  backoffLimit: 3\n  startupDeadlineSeconds: 600\n  progressDeadlineSeconds: 600\n",
        "  activeDeadlineSeconds: null\n",
        "# learning rate, cosine\n# ",
        " 0.001 │",
        " 100 % of the run\n",
    ):
        assert words in result.stdout
    assert yaml.safe_load(result.stdout)["recipe"]["schedule"]["name"] == "cosine"
    assert not (tmp_path / "oarlock-runs").exists()


def test_dry_run_as_json_is_for_programs(tmp_path: Path, manifests: Path) -> None:
    (job,) = json.loads(oarlock(tmp_path, "run", "--dry-run", "digits.yaml", "-o", "json").stdout)

    assert job["name"] == "lenet"
    assert job["run"]["recipe"]["optimizer"]["name"] == "adamw"
    assert "steps" in job["undecided"]


def test_dry_run_uses_the_data_when_it_is_imported(tmp_path: Path, manifests: Path) -> None:
    status = {
        "version": "abc",
        "counts": {"train": 750, "validation": 250},
        "sampleShape": [28, 28, 1],
        "classCount": 10,
    }
    store = ObjectStore(tmp_path / "oarlock-runs/.cluster")
    metadata = {"name": "digits", "namespace": "default", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"}
    store.put({"kind": "Dataset", "metadata": metadata, "spec": {}, "status": status})
    result = oarlock(tmp_path, "run", "--dry-run", "digits.yaml")

    assert "batchSize: 75\n" in result.stdout
    assert "steps: 300\n" in result.stdout
    store.close()


def test_second_command_is_refused_with_the_first_ones_pid(tmp_path: Path, manifests: Path) -> None:
    store = ObjectStore(tmp_path / "oarlock-runs/.cluster")
    result = oarlock(tmp_path, "run", "digits.yaml")

    assert result.returncode == 1
    assert f"is in use by process {os.getpid()}. Wait for it, or work in another folder with --runs" in " ".join(
        result.stderr.split()
    )
    store.close()


@pytest.mark.parametrize("runs", ["digits.yaml", "digits.yaml/below"])
def test_runs_folder_that_cannot_be_is_refused(tmp_path: Path, manifests: Path, runs: str) -> None:
    result = oarlock(tmp_path, "run", "digits.yaml", "--runs", runs)

    assert (result.returncode, result.stdout) == (2, "")
    assert f"--runs must name a folder that can be written, got {runs}" in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
@pytest.mark.parametrize("file", ["Dataset/default/.digits.json.partial", "Node/_/.this-machine.json.partial"])
def test_full_disk_is_said_in_a_sentence(tmp_path: Path, manifests: Path, file: str) -> None:
    full = tmp_path / "oarlock-runs/.cluster/objects" / file
    full.parent.mkdir(parents=True)
    full.symlink_to("/dev/full")
    result = oarlock(tmp_path, "run", "digits.yaml")

    assert result.returncode == 1
    assert f"the disk that holds {tmp_path / 'oarlock-runs'} is full" in result.stderr
    assert "Make room on it." in result.stderr
    assert "Traceback" not in result.stdout + result.stderr


def test_problems_are_json_when_a_program_asked(tmp_path: Path, manifests: Path) -> None:
    manifests.write_text(MANIFESTS.replace("model: {name: lenet}", "modle: {name: lenet}"))
    result = oarlock(tmp_path, "run", "digits.yaml", "-o", "json", "--set", "spec.recipe.epochs=many")
    report = json.loads(result.stdout)
    problems = {problem["path"]: problem for problem in report["problems"]}

    assert (result.returncode, report["exitCode"]) == (2, 2)
    assert problems["spec.modle"] == {
        "path": "spec.modle",
        "rule": "is not a field",
        "found": "",
        "remedy": "did you mean model?",
        "file": "digits.yaml",
        "line": 11,
    }
    assert problems["spec.recipe.epochs"]["option"] == "--set spec.recipe.epochs=many"
    assert "did you mean model?" in result.stderr


def test_refusals_of_other_kinds_are_json_too(tmp_path: Path, manifests: Path) -> None:
    result = oarlock(tmp_path, "run", "digits.yaml", "-o", "json", "--runs", "digits.yaml")
    report = json.loads(result.stdout)

    assert (result.returncode, report["exitCode"]) == (2, 2)
    assert report["problems"][0]["rule"].startswith("--runs must name a folder")


def test_file_is_taken_once_when_it_is_given_twice(tmp_path: Path, manifests: Path) -> None:
    result = oarlock(tmp_path, "validate", "digits.yaml", str(manifests), ".")

    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 2


def test_attempt_that_never_was_is_refused_with_those_there_are(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path / "oarlock-runs/.cluster")
    metadata = {
        "name": "lenet",
        "namespace": "default",
        "uid": "0123456789",
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    store.put({"kind": "TrainingJob", "metadata": metadata, "spec": {}, "status": {"phase": "Training"}})
    store.close()
    log = tmp_path / "oarlock-runs/logs/default/lenet-01234567-2-0.log"
    log.parent.mkdir(parents=True)
    log.write_text("hello\n")
    result = oarlock(tmp_path, "logs", "lenet", "--attempt", "7")

    assert (result.returncode, result.stderr) == (1, "lenet has no logs of attempt 7; there are those of 2\n")


def test_status_of_an_interrupted_run_says_so_first(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path / "oarlock-runs/.cluster")
    metadata = {
        "name": "lenet",
        "namespace": "default",
        "uid": "0123456789",
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    valid = {"type": "Valid", "status": "True", "reason": "Accepted"}
    status = {"phase": "Training", "conditions": [valid]}
    store.put({"kind": "TrainingJob", "metadata": metadata, "spec": {}, "status": status})
    store.close()
    lines = oarlock(tmp_path, "status", "lenet").stdout.splitlines()

    assert lines[0].strip() == "TrainingJob lenet  Interrupted"
    assert lines[-1].strip() == "Valid=True Accepted"


@pytest.mark.parametrize("command", ["list", "status"])
def test_empty_list_says_how_to_begin(tmp_path: Path, command: str) -> None:
    result = oarlock(tmp_path, command)

    assert (result.returncode, "oarlock run FOLDER" in result.stdout) == (0, True)


@pytest.mark.parametrize("command", ["status", "logs"])
def test_unknown_name_is_refused_with_those_there_are(tmp_path: Path, command: str) -> None:
    result = oarlock(tmp_path, command, "nobody")

    assert result.returncode == 1
    assert "there is no nobody in oarlock-runs; there is nothing" in result.stderr


def test_folder_with_the_name_of_a_job_is_not_taken_for_a_run(tmp_path: Path) -> None:
    (tmp_path / "mnist").mkdir()

    result = oarlock(tmp_path, "report", "mnist", "--runs", "runs")

    assert "there is no mnist in" in result.stderr  # the job is looked for
