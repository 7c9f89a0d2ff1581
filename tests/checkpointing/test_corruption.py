from collections.abc import Callable
from pathlib import Path

import pytest
from checkpointing.tiny_runs import flip_byte, make_checkpointer, make_state, same_bits, save_now, snapshot, train_step

from oarlock_trainer.checkpoints.manifest import MANIFEST_NAME
from oarlock_trainer.errors import StorageError

FILES = ["__0_0.distcp", ".metadata", MANIFEST_NAME]
DAMAGE: dict[str, Callable[[Path], object]] = {
    "a byte flipped": flip_byte,
    "the first byte flipped": lambda file: flip_byte(file, offset=0),
    "the last byte flipped": lambda file: flip_byte(file, offset=file.stat().st_size - 1),
    "cut short": lambda file: file.write_bytes(file.read_bytes()[:-7]),
    "empty": lambda file: file.write_bytes(b""),
    "longer": lambda file: file.write_bytes(file.read_bytes() + b"more"),
    "missing": lambda file: file.unlink(),
}


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """Two checkpoints, of steps 1 and 2; returns the folder of the second."""
    checkpointer, state = make_checkpointer(tmp_path), make_state()
    for _ in range(2):
        train_step(state)
        save_now(checkpointer, state)
    return tmp_path / "checkpoints/step-000000002"


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
@pytest.mark.parametrize("name", FILES)
def test_the_previous_checkpoint_loads_when_a_file_is_damaged(
    two: Path, name: str, damage: Callable[[Path], object]
) -> None:
    damage(two / name)
    before = make_state()
    train_step(before)
    state = make_state(seed=5)
    loaded = make_checkpointer(two.parents[1]).load_latest(state)

    assert loaded is not None
    assert loaded.facts.step == 1
    (warning,) = loaded.warnings
    assert str(two / name) in warning
    assert "expected" in warning
    assert "found" in warning
    assert same_bits(snapshot(state)["model"], snapshot(before)["model"])


def test_every_byte_of_the_manifest_counts(two: Path) -> None:
    manifest = two / MANIFEST_NAME
    intact = manifest.read_bytes()
    for offset in range(0, len(intact), 41):
        flip_byte(manifest, offset=offset)
        loaded = make_checkpointer(two.parents[1]).load_latest(make_state())
        manifest.write_bytes(intact)

        assert loaded is not None
        assert loaded.facts.step == 1 or intact[offset : offset + 1].isspace()


def test_a_checkpoint_without_a_manifest_is_skipped_when_it_is_newest(two: Path) -> None:
    empty = two.with_name("step-000000009")
    empty.mkdir()
    loaded = make_checkpointer(two.parents[1]).load_latest(make_state())

    assert loaded is not None
    assert loaded.facts.step == 2
    assert "oarlock.json: expected a manifest, found no such file" in loaded.warnings[0]


def test_training_does_not_begin_again_in_silence_when_all_are_corrupt(two: Path) -> None:
    for folder in two.parent.iterdir():
        flip_byte(folder / ".metadata")
    with pytest.raises(StorageError, match=r"no checkpoint in .* can be used") as error:
        make_checkpointer(two.parents[1]).load_latest(make_state())

    assert "train anew" in error.value.remedy


def test_a_corrupt_checkpoint_is_replaced_when_training_reaches_its_step_again(two: Path) -> None:
    flip_byte(two / ".metadata")
    checkpointer, state = make_checkpointer(two.parents[1]), make_state()
    checkpointer.load_latest(state)
    train_step(state)
    result = save_now(checkpointer, state)
    loaded = make_checkpointer(two.parents[1]).load_latest(make_state())

    assert result.facts.step == 2
    assert loaded is not None
    assert loaded.facts.step == 2
    assert loaded.warnings == []
    assert sorted(folder.name for folder in two.parent.iterdir()) == ["step-000000001", "step-000000002"]


def test_an_intact_checkpoint_stays_when_its_step_is_saved_again(two: Path) -> None:
    before = (two / MANIFEST_NAME).read_bytes()
    checkpointer, state = make_checkpointer(two.parents[1], attempt=1), make_state()
    checkpointer.load_latest(state)
    result = save_now(checkpointer, state)

    assert result.facts.step == 2
    assert (two / MANIFEST_NAME).read_bytes() == before


def test_leftovers_of_earlier_attempts_are_removed_when_the_next_one_loads(two: Path) -> None:
    for name in ("step-000000003.a0.partial", "step-000000001.a1.deleting", "step-000000004.a7.partial"):
        (two.parent / name).mkdir()
        (two.parent / name / "file").write_bytes(b"half")
    make_checkpointer(two.parents[1], attempt=1).load_latest(make_state())

    assert {folder.name for folder in two.parent.iterdir() if "." in folder.name} == {"step-000000004.a7.partial"}
