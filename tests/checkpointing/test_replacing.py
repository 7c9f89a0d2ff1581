import multiprocessing
from pathlib import Path

import pytest
from checkpointing.replacements import replace_and_die, save_with_metric
from checkpointing.tiny_runs import list_steps, make_checkpointer, make_state, save_now, train_step
from training.forked_ranks import PRELOAD

from oarlock_api.v1alpha1.training_job import CheckpointInterval
from oarlock_trainer.cadence import Length, SaveClock, SavePlan
from oarlock_trainer.checkpointing import Saver
from oarlock_trainer.checkpoints.manifest import Manifest, read_manifest
from oarlock_trainer.checkpoints.verification import find_damage
from oarlock_trainer.state import TrainingState
from oarlock_trainer.throughput import Throughput

STEP = "step-000000001"
_FORKSERVER = multiprocessing.get_context("forkserver")
_FORKSERVER.set_forkserver_preload(PRELOAD)  # a process has one fork server, whoever starts it


@pytest.fixture
def checkpoints(tmp_path: Path) -> Path:
    """One checkpoint, the only one, of a step that was not validated."""
    state = make_state()
    train_step(state)
    save_now(make_checkpointer(tmp_path), state)
    return tmp_path / "checkpoints"


def load(checkpoints: Path, *, attempt: int) -> tuple[TrainingState, Manifest]:
    state = make_state(seed=3)
    loaded = make_checkpointer(checkpoints.parent, attempt=attempt).load_latest(state)
    assert loaded is not None
    assert loaded.warnings == []
    return state, read_manifest(checkpoints / STEP)


def test_a_checkpoint_is_replaced_when_its_step_is_saved_again_with_a_metric(checkpoints: Path) -> None:
    save_with_metric(checkpoints)
    state, manifest = load(checkpoints, attempt=2)

    assert manifest.metric == 0.5
    assert state.counters["validatedStep"] == 1.0
    assert [path.name for path in checkpoints.iterdir()] == [STEP]


def test_a_checkpoint_with_a_metric_stays_when_its_step_is_saved_again_without(checkpoints: Path) -> None:
    save_with_metric(checkpoints)
    before = read_manifest(checkpoints / STEP)
    checkpointer, state = make_checkpointer(checkpoints.parent, attempt=2), make_state()
    checkpointer.load_latest(state)
    save_now(checkpointer, state)

    assert read_manifest(checkpoints / STEP) == before


@pytest.mark.parametrize("last_rename", range(5))
def test_the_step_is_never_lost_when_the_replacement_breaks_off_at_a_rename(
    checkpoints: Path, last_rename: int
) -> None:
    """The process ends without a word just before one of its renames: of metadata, manifest, the old folder, the new one."""
    # A fork of this process would lack the threads of its gloo group: the child comes from a process without any.
    child = _FORKSERVER.Process(target=replace_and_die, args=(checkpoints, last_rename))
    child.start()
    child.join()
    code = child.exitcode
    state, manifest = load(checkpoints, attempt=1)

    assert code == (9 if last_rename < 4 else 7), "the renames are not those that the test knows"
    assert manifest.metric == (None if last_rename < 4 else 0.5)
    assert find_damage(checkpoints / STEP) == ""
    assert state.position > 0
    assert [path.name for path in checkpoints.iterdir()] == [STEP]


def test_a_zombie_leaves_the_later_attempts_replacement_alone(checkpoints: Path) -> None:
    (checkpoints / STEP).rename(checkpoints / f"{STEP}.a4.replaced")
    make_checkpointer(checkpoints.parent, attempt=3).load_latest(make_state())

    assert [path.name for path in checkpoints.iterdir()] == [f"{STEP}.a4.replaced"]


def test_a_step_does_not_count_as_saved_when_its_save_has_failed(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").touch()
    state = make_state()
    train_step(state)
    plan = SavePlan(every=_every(5), length=Length(steps=9, batch_size=8, train_samples=80), last_step=0)
    saver = Saver(make_checkpointer(tmp_path), state, plan=plan, clock=SaveClock(_every(5), now=0.0))
    throughput = Throughput(batch_size=8, now=0.0)

    saver.begin(1, metric=None, finite=True, throughput=throughput, now=0.0)
    saver.wait(throughput)
    assert not saver.is_saved(1)

    (tmp_path / "checkpoints").unlink()
    saver.begin(1, metric=None, finite=True, throughput=throughput, now=0.0)
    saver.wait(throughput)
    assert saver.is_saved(1)
    assert list_steps(tmp_path) == [1]


def _every(steps: int) -> CheckpointInterval:
    return CheckpointInterval(steps=steps)
