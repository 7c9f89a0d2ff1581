"""The run log."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oarlock_trainer.errors import StorageError
from oarlock_trainer.run_log import RunLog, build_line


def write_log(run_dir: Path, steps: range) -> Path:
    log = RunLog(run_dir)
    log.rewind(steps.start)
    for step in steps:
        log.write(build_line("step", step, {"train/loss": 1 / (step + 1)}))
    log.close()
    return run_dir / "log.jsonl"


def read_steps(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_the_log_is_taken_back_to_the_checkpoint_when_a_run_resumes(tmp_path: Path) -> None:
    write_log(tmp_path, range(1, 11))

    path = write_log(tmp_path, range(6, 9))

    assert read_steps(path) == [1, 2, 3, 4, 5, 6, 6, 7, 8]


def test_a_torn_last_line_is_dropped_when_the_writer_was_killed(tmp_path: Path) -> None:
    path = write_log(tmp_path, range(1, 4))
    with path.open("a") as file:
        file.write('{"kind":"step","step":4,"train/lo')

    RunLog(tmp_path).rewind(9)

    assert read_steps(path) == [1, 2, 3]


def test_validations_that_stay_are_returned(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    log.rewind(0)
    log.write(*(build_line("validation", step, {"validation/accuracy": step / 10}) for step in (2, 4, 6)))
    log.close()

    kept = RunLog(tmp_path).rewind(4)

    assert [line["validation/accuracy"] for line in kept] == [0.2, 0.4]


@given(loss=st.floats(width=32))
def test_a_loss_survives_with_all_its_bits_or_is_named_when_it_is_not_finite(loss: float) -> None:
    line = json.loads(json.dumps(build_line("step", 1, {"train/loss": loss}), allow_nan=False))

    if math.isfinite(loss):
        assert line["train/loss"].hex() == loss.hex()
    else:
        assert line["nonFinite"] == ["train/loss"]


def test_a_line_keeps_its_step_and_kind_whatever_a_figure_is_called() -> None:
    line = build_line("step", 7, {"step": 1.5, "kind": 0.0, "epoch": 9.0, "train/loss": 2.0}, epoch=0.5)

    assert line == {"kind": "step", "step": 7, "epoch": 0.5, "train/loss": 2.0}
    assert next(iter(line)) == "kind"  # by which reports skip steps of long logs


FILLS_A_DISK = """
import resource, sys, signal
from pathlib import Path
from oarlock_trainer.errors import StorageError
from oarlock_trainer.run_log import RunLog, build_line
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = RunLog(Path(sys.argv[1]))
log.rewind(0)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    for step in range(1000):
        log.write(build_line("step", step))
    log.sync()
except StorageError as error:
    sys.exit(f"{error.cause}: {error} / {error.remedy}")
"""


def test_a_volume_that_refuses_is_named_with_what_was_being_written(tmp_path: Path) -> None:
    """The limit on file sizes stands for a full disk: the kernel refuses the write."""
    ended = subprocess.run(
        [sys.executable, "-c", FILLS_A_DISK, str(tmp_path)], capture_output=True, text=True, check=False
    )

    assert "writing the run log failed at" in ended.stderr
    assert str(tmp_path / "log.jsonl") in ended.stderr


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StorageError, match="opening the run log"):
        RunLog(tmp_path / "file" / "run").rewind(0)
