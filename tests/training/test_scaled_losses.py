"""fp16: losses are scaled up; a step that overflows is left out and changes the scale, which outlives the attempt."""

import math
from pathlib import Path

import pytest
import torch
from checkpointing.tiny_runs import make_checkpointer, make_model, one_gloo_rank, save_now
from torch import Tensor, nn
from torch.amp import GradScaler

from oarlock_trainer.leader_buffers import LeaderBuffers
from oarlock_trainer.learner import Learner
from oarlock_trainer.state import TrainingState


def make_learner(optimizer: type[torch.optim.Optimizer], *, enabled: bool = True) -> Learner:
    torch.manual_seed(0)
    model = make_model()
    fused = {} if optimizer is torch.optim.RMSprop else {"fused": True}
    return Learner(
        model=model,
        network=model,
        optimizer=optimizer(model.parameters(), lr=0.1, **fused),  # type: ignore[call-arg]  # of all but the abstract one
        scaler=GradScaler("cpu", init_scale=1024.0, growth_interval=2, enabled=enabled),
        precision=torch.float16,
        highest_rate=0.1,
        rate_factor=lambda _: 1.0,
        gradient_clip_norm=1.0,
        compilation="off",
        first_weights=None,
        average=None,
        judges_average=False,
        leader_buffers=LeaderBuffers(model, processes=1),
    )


def take_step(learner: Learner, *, factor: float = 1.0) -> Tensor | None:
    outputs = learner.model(torch.ones(2, 1, 4, 4))
    learner.backward(nn.functional.cross_entropy(outputs, torch.tensor([0, 1])) * factor)
    return learner.update()


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW, torch.optim.RMSprop])
def test_a_step_changes_nothing_but_the_scale_when_its_gradients_overflow(
    optimizer: type[torch.optim.Optimizer],
) -> None:
    learner = make_learner(optimizer)
    take_step(learner)
    before = [parameter.detach().clone() for parameter in learner.model.parameters()]

    norm = take_step(learner, factor=math.inf)

    assert norm is not None
    assert float(norm) == 0.0
    assert learner.scaler.get_scale() == 512.0
    assert all(map(torch.equal, before, learner.model.parameters()))
    assert float(take_step(learner) or 0.0) > 0.0


def test_the_update_is_the_same_with_and_without_a_scale_of_a_power_of_two() -> None:
    scaled, plain = make_learner(torch.optim.SGD), make_learner(torch.optim.SGD, enabled=False)
    for learner in (scaled, plain):
        torch.manual_seed(1)
        take_step(learner)
    assert all(map(torch.equal, scaled.model.parameters(), plain.model.parameters()))


def test_the_scale_and_its_age_are_restored_with_the_checkpoint(tmp_path: Path) -> None:
    trained, fresh = make_learner(torch.optim.SGD), make_learner(torch.optim.SGD)
    take_step(trained, factor=math.inf)
    take_step(trained)
    with one_gloo_rank():
        checkpointer = make_checkpointer(tmp_path)
        checkpointer.claim_fence()
        save_now(checkpointer, hold(trained))
        make_checkpointer(tmp_path).load_latest(hold(fresh))
    assert fresh.scaler.state_dict() == trained.scaler.state_dict()
    assert (trained.scaler.state_dict()["scale"], trained.scaler.state_dict()["_growth_tracker"]) == (512.0, 1)


def hold(learner: Learner) -> TrainingState:
    return TrainingState(model=learner.model, optimizer=learner.optimizer, scaler=learner.scaler)
