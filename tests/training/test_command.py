"""`python -m oarlock_trainer` and torchrun, as users and the agent start them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from training.small_runs import make_run, read_log, read_losses

from oarlock_api.contract import EXIT_CODES, EXIT_SUSPENDED, Cause, Outcome
from oarlock_api.run import WorkerRun
from oarlock_trainer.rank_record import RankReading, rank_record_path, read_rank_record

pytestmark = pytest.mark.train

NOT_NEEDED = {
    *("accelerate", "aiohttp", "jsonschema", "kopf", "kubernetes", "lightning", "matplotlib", "onnx", "onnxruntime"),
    *("onnxscript", "rich", "scipy", "tensorboard", "timm", "torchvision", "transformers", "typer", "yaml"),
}
"""Packages that take long to import, and that other runs or other programs use. (pandas is imported by pyarrow where it can be.)"""


def start(run: WorkerRun, folder: Path, *, data: Path, processes: int = 0, **variables: str) -> subprocess.Popen[str]:
    """Start the trainer: by torchrun, or alone if `processes` is 0."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes else []
    environment = {
        **os.environ,
        "OARLOCK_RUN": json.dumps(run.to_wire()),
        "OARLOCK_DATA_DIR": str(data),
        "OARLOCK_RUN_DIR": str(folder / "run"),
        "OARLOCK_CPUS": "1",
        "OARLOCK_RANK_RECORD_DIR": str(folder / "ranks"),
        "OMP_NUM_THREADS": "1",
        **variables,
    }
    command = [sys.executable, *launcher, "-m", "oarlock_trainer"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for_step(process: subprocess.Popen[str], folder: Path, step: int, *, rank: int = 0) -> RankReading:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        reading = read_rank_record(rank_record_path(folder / "ranks", rank))
        if reading is not None and (reading.step or 0) >= step:
            return reading
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    raise TimeoutError(f"step {step} was not reached")


def test_a_run_stops_on_sigterm_to_one_rank_and_goes_on_when_it_is_started_again(
    dataset_folder: Path, version: str, tmp_path: Path
) -> None:
    run = make_run(version, model="mlp", steps=3000, checkpointEvery={"minutes": 10}, recipe={"batchSize": 64})
    torchrun = start(run, tmp_path, data=dataset_folder / "data", processes=2)
    os.kill(wait_for_step(torchrun, tmp_path, 5, rank=1).pid, signal.SIGTERM)
    output, _ = torchrun.communicate(timeout=300)
    endings = [read_rank_record(rank_record_path(tmp_path / "ranks", rank)) for rank in (0, 1)]
    stopped_after = len(read_losses(tmp_path / "run"))

    assert [reading.outcome for reading in endings if reading] == [Outcome.SUSPENDED] * 2, output
    assert 5 <= stopped_after < 3000
    assert read_log(tmp_path / "run", "suspended")[0]["step"] == stopped_after

    (tmp_path / "ranks" / "0.record").unlink()
    again = start(run, tmp_path, data=dataset_folder / "data", processes=2)
    try:
        assert (wait_for_step(again, tmp_path, 1).step or 0) > stopped_after
        assert f"from the checkpoint of step {stopped_after}" in read_log(tmp_path / "run", "start")[1]["message"]
    finally:
        again.terminate()
        again.communicate(timeout=300)


def test_a_process_without_a_launcher_suspends_with_the_exit_code_for_it(
    dataset_folder: Path, version: str, tmp_path: Path
) -> None:
    alone = start(make_run(version, model="mlp", steps=5000), tmp_path, data=dataset_folder / "data")
    wait_for_step(alone, tmp_path, 3)
    alone.terminate()

    assert alone.wait(60) == EXIT_SUSPENDED


def read_imports(output: str) -> tuple[set[str], str]:
    """Return the packages that Python says it imported, and what else was printed."""
    lines = output.splitlines()
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in lines if line.startswith("import time:")}
    return imported, "\n".join(line for line in lines if not line.startswith("import time:"))


def test_a_run_that_diverges_ends_with_its_cause_in_record_and_exit_code_and_has_imported_no_more_than_it_needs(
    dataset_folder: Path, version: str, tmp_path: Path
) -> None:
    run = make_run(version, steps=60, recipe={"optimizer": {"name": "sgd", "learningRate": 1e6}})
    alone = start(run, tmp_path, data=dataset_folder / "data", PYTHONPROFILEIMPORTTIME="1")

    imported, output = read_imports(alone.communicate(timeout=300)[0])
    reading = read_rank_record(rank_record_path(tmp_path / "ranks", 0))

    assert alone.returncode == EXIT_CODES[Cause.NON_FINITE], output
    assert reading is not None
    assert reading.failure is not None
    assert (reading.failure.cause, reading.outcome) == (Cause.NON_FINITE, Outcome.FAILED)
    assert reading.report["non_finite"]
    assert reading.failure.remedy
    assert imported >= {"oarlock_trainer", "torch"}
    assert imported & NOT_NEEDED == set()
