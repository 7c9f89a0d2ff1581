"""The repeated parts of a model, and computing them again; batch norms over all processes."""

import copy

import pytest
import torch
from torch import Tensor, nn
from training.forked_ranks import run_ranks
from training.narrow_models import narrow_model
from training.spread_scenarios import (
    disagree,
    learn,
    learn_normed,
    make_normed_model,
    make_rows,
    run_activated_norms,
    shard_built_in_models,
)

from oarlock_trainer.batch_norms import synchronize_batch_norms
from oarlock_trainer.blocks import find_blocks, recompute_blocks
from oarlock_trainer.distributed import Processes
from oarlock_trainer.errors import ConfigError


class Block(nn.Module):
    """A residual block with all that must not happen twice: dropout, and a batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5))
        self.calls = 0

    def forward(self, values: Tensor) -> Tensor:
        self.calls += 1
        return values + self.inner(values)


class Stage(nn.Module):
    """Blocks, and something small beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.scale = nn.Parameter(torch.ones(8))

    def forward(self, values: Tensor) -> Tensor:
        for block in self.blocks:
            values = block(values)
        return values * self.scale


def make_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 8), nn.ModuleList([Stage(), Stage()])[0], Block(), nn.Linear(8, 1))


def test_blocks_are_the_composite_elements_of_lists_and_stages_are_not() -> None:
    model = make_model()
    assert [type(block) for block in find_blocks(model)] == [Block, Block, Block]
    assert find_blocks(nn.Sequential(nn.Linear(2, 2), nn.ReLU())) == []
    assert len(find_blocks(nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2), 3, enable_nested_tensor=False))) == 3


def test_a_step_is_bitwise_the_same_when_blocks_are_computed_again() -> None:
    plain, frugal = make_model(), make_model()
    names = list(frugal.state_dict())
    recompute_blocks(frugal)
    rows = torch.randn(6, 8)
    results = []
    for model in (plain, frugal):
        torch.manual_seed(1)
        results.append({**learn(model, rows), "random state": torch.get_rng_state()})
    assert all(map(torch.equal, results[0].values(), results[1].values()))
    assert list(frugal.state_dict()) == names
    assert [block.calls for block in find_blocks(frugal)] == [2, 2, 2]


@pytest.mark.parametrize("name", ["resnet18", "transformer"])
def test_a_built_in_model_has_the_same_gradients_when_its_blocks_are_computed_again(name: str) -> None:
    gradients = []
    for again in (False, True):
        torch.manual_seed(0)
        narrow = narrow_model(name, side=33)
        model, (inputs, targets) = narrow.build(), narrow.make_batch()
        if again:
            recompute_blocks(model)
        narrow.compute_loss(model(inputs), targets).backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert all(a is not None and b is not None and a.equal(b) for a, b in zip(*gradients, strict=True))


def test_built_in_models_of_all_kinds_have_the_same_gradients_and_outputs_when_they_are_sharded() -> None:
    assert run_ranks(2, shard_built_in_models) == [{}, {}]


def test_ranks_that_built_another_model_than_rank_0_are_named_before_it_is_sharded() -> None:
    said = "recipe.parallelism: fsdp: the first weights of rank 1 are not those of rank 0"
    assert run_ranks(2, disagree) == [[said]] * 2


def test_a_copy_of_a_model_whose_blocks_are_computed_again_is_a_model_of_its_own() -> None:
    """Averages of the weights are such copies."""
    model = make_model().eval()
    recompute_blocks(model)
    rows = torch.randn(2, 8)
    twin = copy.deepcopy(model)
    before = twin(rows)
    nn.init.zeros_(next(find_blocks(model)[0].parameters()))
    assert twin(rows).equal(before)
    assert not model(rows).equal(before)


def test_a_model_without_blocks_is_refused_when_they_are_to_be_computed_again() -> None:
    with pytest.raises(ConfigError, match="Linear has none"):
        recompute_blocks(nn.Linear(2, 2))


def test_batch_norms_of_two_processes_count_as_one_when_they_are_synchronised() -> None:
    """The gradients of both, added, are those of the whole batch; 5 and 2 rows count as 7, far from zero too."""
    whole = learn(make_normed_model(), make_rows())
    for results in run_ranks(2, learn_normed):
        assert results.keys() == whole.keys()
        for name, value in whole.items():
            torch.testing.assert_close(torch.tensor(results[name]), value, rtol=1e-3, atol=1e-4)


def test_norms_of_timm_keep_their_activations_when_they_are_synchronised() -> None:
    assert run_ranks(2, run_activated_norms) == [{"train": True, "eval": True, "another": True}] * 2


def test_a_batch_norm_with_a_forward_pass_of_its_own_is_refused_by_name() -> None:
    class Halved(nn.BatchNorm2d):
        def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  # torch's own name
            return super().forward(input) / 2

    processes = Processes(rank=0, count=2, device=torch.device("cpu"), control=None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"batch norm 0 of the model is a .*Halved"):
        synchronize_batch_norms(nn.Sequential(Halved(2)), processes)
