"""`oarlock run` for real: a folder of images becomes a model, whatever interrupts it, and nothing outlives it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from local.local_scene import find_processes_of
from PIL import Image

pytestmark = pytest.mark.train

_PATIENCE_SECONDS = 300
_started: list[subprocess.Popen[str]] = []
_LONG = [
    word
    for change in (
        "spec.model.name=mlp",
        "spec.recipe.epochs=40",
        "spec.recipe.validation.every.epochs=40",
        "spec.checkpoints.every.steps=50",
    )
    for word in ("--set", change)
]


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    """Make 80 images of squares and stripes."""
    random = np.random.default_rng(0)
    for number in range(80):
        pixels = random.integers(0, 100, (8, 8), dtype=np.uint8)
        name = "squares" if number % 2 else "stripes"
        pixels[(slice(2, 6), slice(2, 6)) if number % 2 else slice(None, None, 2)] += 120
        (tmp_path / "shapes" / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "shapes" / name / f"{number}.png")
    return tmp_path / "shapes"


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", "from oarlock.cli import main; main()", "run", *words]
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    _started.append(process)
    return process


def run(folder: Path, *words: str) -> tuple[int, str]:
    process = start(folder, *words)
    output, _ = process.communicate(timeout=_PATIENCE_SECONDS)
    return process.returncode, output


def read_job(folder: Path) -> dict[str, Any]:
    for path in (folder / "oarlock-runs/.cluster/objects/TrainingJob/default").glob("[!.]*.json"):
        job: dict[str, Any] = json.loads(path.read_text())
        return job
    return {}


def wait_for(process: subprocess.Popen[str], holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not holds():
        assert process.poll() is None, process.stdout and process.stdout.read()
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)


def find_pods(folder: Path) -> list[psutil.Process]:
    """Return the living processes of every pod that the local cluster has known."""
    pods = (json.loads(path.read_text()) for path in folder.glob("oarlock-runs/.cluster/objects/Pod/*/[!.]*.json"))
    return [process for pod in pods for process in find_processes_of(pod["metadata"]["uid"])]


def safe_step(folder: Path) -> int:
    checkpoint = read_job(folder).get("status", {}).get("checkpoint") or {}
    return int((checkpoint.get("latest") or {"step": 0})["step"])


@pytest.fixture(autouse=True)
def _nothing_is_left(tmp_path: Path) -> Iterator[None]:
    yield
    for process in _started:
        process.kill()
        process.wait()
    _started.clear()
    deadline = time.monotonic() + 60
    while find_pods(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not find_pods(tmp_path)


def test_folder_of_images_becomes_a_model(tmp_path: Path, shapes: Path) -> None:
    code, output = run(tmp_path, "shapes", "--set", "spec.recipe.epochs=3")

    assert code == 0, output
    assert "✓ shapes-mlp is trained: 3 epochs" in output or "✓ shapes-resnet is trained: 3 epochs" in output
    model = next((tmp_path / "oarlock-runs/jobs").glob("*/export/model.safetensors"))
    assert str(model.relative_to(tmp_path)) in output
    assert model.stat().st_size > 1000
    assert (tmp_path / "oarlock-runs/shapes.yaml").exists()

    code, output = run(tmp_path, "shapes", "--set", "spec.recipe.epochs=3", "-qq", "-o", "json")
    report = json.loads(output)
    assert (code, [entry["end"] for entry in report["objects"]]) == (0, ["already", "already"])
    assert Path(report["objects"][1]["model"]).samefile(model)

    code, output = run(tmp_path, "shapes", "--set", "spec.recipe.epochs=4")
    assert code == 2
    assert "--set spec.recipe.epochs=4: spec.recipe.epochs must stay 3" in output


def test_run_goes_on_where_it_was_when_ctrl_c_and_sigkill_interrupt_it(tmp_path: Path, shapes: Path) -> None:
    first = start(tmp_path, "shapes", *_LONG)
    wait_for(first, lambda: safe_step(tmp_path) > 0)
    first.send_signal(signal.SIGINT)
    output, _ = first.communicate(timeout=_PATIENCE_SECONDS)
    suspended_at = safe_step(tmp_path)
    assert (first.returncode, read_job(tmp_path)["status"]["phase"]) == (75, "Suspended"), output
    assert f"step {suspended_at:,} is safe" in output
    assert not any(words in output for words in ("runPolicy.suspend", "Kueue", "administrator", "image is pulled"))
    assert not find_pods(tmp_path)

    second = start(tmp_path, "shapes", *_LONG)
    wait_for(second, lambda: safe_step(tmp_path) > suspended_at)
    assert find_pods(tmp_path)
    second.kill()
    second.communicate()
    deadline = time.monotonic() + 60
    while find_pods(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not find_pods(tmp_path)

    code, output = run(tmp_path, "shapes", *_LONG)
    job = read_job(tmp_path)
    assert (code, job["status"]["phase"]) == (0, "Succeeded"), output
    assert "goes on from the checkpoint of step" in output
    assert re.search(r"training +train .* \(mean of the last \d+ steps?\)", output)
    assert job["status"]["countedRestarts"] == 0
    steps = [json.loads(line)["step"] for line in _list_steps(tmp_path)]
    assert steps == list(range(1, len(steps) + 1))


def _list_steps(folder: Path) -> list[str]:
    (log,) = (folder / "oarlock-runs/jobs").glob("*/log.jsonl")
    return [line for line in log.read_text().splitlines() if '"kind":"step"' in line]


def test_import_goes_on_at_once_when_ctrl_c_stopped_it(tmp_path: Path, shapes: Path) -> None:
    changes = ("--set", "spec.recipe.epochs=60", "--set", "spec.runPolicy.activeDeadlineSeconds=1")
    words = (str(shapes), *changes)
    for image in list(shapes.glob("*/*.png")):
        for number in range(20):  # long enough to be stopped midway
            os.link(image, image.with_stem(f"{image.stem}-{number}"))
    folder = _stop_an_import(tmp_path, *words)
    assert not find_pods(folder)

    code, output = run(folder, *words, "-o", "json")
    assert (code, "lost" in output.lower()) == (1, False), output
    assert "Dataset shapes: Ready" in output
    assert not find_pods(folder)


def _stop_an_import(tmp_path: Path, *words: str) -> Path:
    """Press Ctrl-C while an import works, and return where: on a busy machine it may be over first."""
    for chance in range(10):
        folder = tmp_path / f"chance-{chance}"
        folder.mkdir()
        process = start(folder, *words)
        wait_for(process, lambda here=folder: any(here.glob("oarlock-runs/logs/default/*-import-0.log")))  # type: ignore[misc]
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=_PATIENCE_SECONDS)
        if "the import of shapes was stopped" in output:
            assert process.returncode == 75, output
            return folder
    pytest.fail(f"the import was always over before it could be stopped:\n{output}")


def test_failed_job_goes_on_when_its_cause_is_gone(tmp_path: Path, shapes: Path) -> None:
    words = ("shapes", "--set", "spec.model.name=mlp", "--set", "spec.recipe.epochs=4")
    code, output = run(tmp_path, *words, "--set", "spec.runPolicy.activeDeadlineSeconds=1")
    failed = read_job(tmp_path)
    assert (code, failed["status"]["reason"]) == (1, "ActiveDeadlineExceeded"), output

    code, output = run(tmp_path, *words)
    job = read_job(tmp_path)
    assert (code, job["status"]["phase"]) == (0, "Succeeded"), output
    assert "failed before (ActiveDeadlineExceeded) and is tried again" in output
    assert (job["metadata"]["uid"], job["status"]["attempt"]) == (failed["metadata"]["uid"], 1)
    assert job["status"]["run"] == failed["status"]["run"]


def test_black_box_is_shown_when_training_fails(tmp_path: Path, shapes: Path) -> None:
    for path in (shapes / "squares").iterdir():
        path.write_bytes(path.read_bytes()[:40])
    for path in list((shapes / "stripes").iterdir())[:-4]:
        path.unlink()
    code, output = run(tmp_path, "shapes")

    assert code == 1, output
    assert "✗ shapes failed: Data" in output
    assert "remedy" in output
    assert "oarlock-runs/logs/default/shapes-" in output
