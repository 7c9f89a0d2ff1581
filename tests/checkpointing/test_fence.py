import json
from pathlib import Path

import pytest
from checkpointing.tiny_runs import list_steps, make_checkpointer, make_run, make_state, save_now, train_step

from oarlock_trainer.checkpoints.fence import Fence
from oarlock_trainer.errors import CheckpointMismatchError, SupersededError


def test_a_zombie_cannot_commit_when_a_later_attempt_has_claimed(tmp_path: Path) -> None:
    zombie, state = make_checkpointer(tmp_path, attempt=0), make_state()
    zombie.claim_fence()
    train_step(state)
    make_checkpointer(tmp_path, attempt=1).claim_fence()
    zombie.begin_save(state, step=1, epoch=0.0)

    with pytest.raises(SupersededError, match=r"attempt 1 of this job owns .* this is attempt 0"):
        zombie.finish()
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_a_zombie_deletes_nothing_when_it_is_superseded_between_commit_and_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zombie, state = make_checkpointer(tmp_path, attempt=0, run=make_run(keep=1)), make_state()
    zombie.claim_fence()
    train_step(state)
    save_now(zombie, state)
    commits = claim_after_the_next_check(monkeypatch, Fence(run_dir=tmp_path, job_uid="job-1", attempt=1))
    train_step(state)

    with pytest.raises(SupersededError):
        save_now(zombie, state)
    assert commits == [0]
    assert list_steps(tmp_path) == [1, 2]


def claim_after_the_next_check(monkeypatch: pytest.MonkeyPatch, successor: Fence) -> list[int]:
    """Let the later attempt appear right after the earlier one has looked for it."""
    looked: list[int] = []
    check = Fence.check

    def check_and_lose(fence: Fence) -> None:
        check(fence)
        if not looked:
            looked.append(fence.attempt)
            successor.claim()

    monkeypatch.setattr(Fence, "check", check_and_lose)
    return looked


def test_a_zombie_cannot_load_when_a_later_attempt_has_claimed(tmp_path: Path) -> None:
    make_checkpointer(tmp_path, attempt=2).claim_fence()
    with pytest.raises(SupersededError):
        make_checkpointer(tmp_path, attempt=1).load_latest(make_state())


def test_an_earlier_attempt_cannot_claim(tmp_path: Path) -> None:
    make_checkpointer(tmp_path, attempt=3).claim_fence()
    with pytest.raises(SupersededError):
        make_checkpointer(tmp_path, attempt=2).claim_fence()
    assert [file.name for file in (tmp_path / "fence").iterdir()] == ["attempt-3.json"]


def test_an_attempt_claims_again_when_its_pod_retries(tmp_path: Path) -> None:
    for _ in range(2):
        make_checkpointer(tmp_path, attempt=3).claim_fence()
    assert json.loads((tmp_path / "fence/attempt-3.json").read_text()) == {"jobUid": "job-1", "attempt": 3}


def test_another_job_cannot_claim_the_folder(tmp_path: Path) -> None:
    make_checkpointer(tmp_path, job_uid="job-1").claim_fence()
    with pytest.raises(CheckpointMismatchError, match="belongs to the job with UID job-1"):
        make_checkpointer(tmp_path, job_uid="job-2", attempt=1).claim_fence()


def test_a_torn_mark_still_counts(tmp_path: Path) -> None:
    (tmp_path / "fence").mkdir()
    (tmp_path / "fence/attempt-4.json").write_bytes(b"")
    with pytest.raises(SupersededError):
        make_checkpointer(tmp_path, attempt=3).claim_fence()
