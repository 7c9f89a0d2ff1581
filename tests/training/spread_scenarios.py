"""What ranks do together in tests of models that are spread over them; importable, so that forked ranks can call it."""

import copy
import os
import random
from typing import Any, cast

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torchvision_operators import install
from training.narrow_models import narrow_model

from oarlock_api.v1alpha1.training_job import LibraryModel, Model
from oarlock_trainer.batch_norms import synchronize_batch_norms
from oarlock_trainer.distributed import Processes, adopt_leader_buffers
from oarlock_trainer.errors import ConfigError
from oarlock_trainer.first_agreement import check_agreement, seed_all
from oarlock_trainer.models import SampleForm, build_model
from oarlock_trainer.sharding import make_whole, shard_model

KINDS = ("resnet18", "googlenet", "siamese", "unet-small", "centernet-small", "lstm", "transformer")
"""Blocks and none, auxiliary heads, a part that runs twice, flattened weights, attention."""
ROWS_OF_RANK_0 = 5
"""Of 7: shares are uneven."""


def make_normed_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 1))


class Remembering(nn.Module):
    """A classifier that reads while training what it has gathered from the rows before, as codebooks and queues are."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.last = nn.Linear(256, outputs)
        self.register_buffer("seen", torch.zeros(256))

    def forward(self, images: Tensor) -> Tensor:
        rows = images.flatten(1)
        if self.training:
            self.seen = 0.5 * self.seen + 0.5 * rows.detach().mean(dim=0)
        return cast("Tensor", self.last(rows + self.seen))


def take_all_kinds() -> dict[str, list[Any]]:
    """Take rank 0's values for buffers of all kinds, and return what each then has, what lies between them in memory included."""
    processes = _join()
    own = processes.rank + 1
    model, wide = nn.Module(), torch.full((4, 4), float(own))
    kinds = {
        "transposed": torch.full((2, 3), own).t(),
        "sliced": wide[:, ::2],
        "stacked": torch.full((1, 2, 2, 2), own).contiguous(memory_format=torch.channels_last),
        "short": torch.tensor([own], dtype=torch.int16),
        "eighth": torch.tensor([float(own)]).to(torch.float8_e4m3fn),
        "scalar": torch.tensor(own),
        "empty": torch.zeros(0),
        "replaced": torch.zeros(0),
    }
    for name, value in kinds.items():
        model.register_buffer(name, value)
    model.register_buffer("fleeting", torch.tensor(own), persistent=False)
    model.replaced = torch.full((2,), own)
    adopt_leader_buffers(model, processes)
    found = {name: value.double().unique().tolist() for name, value in model.named_buffers()}
    dist.destroy_process_group()
    return {**found, "between": wide.unique().tolist()}


def make_rows() -> Tensor:
    return torch.randn(7, 2, 4, 4, generator=torch.Generator().manual_seed(1)) * 3 + 100


def learn_normed() -> dict[str, list[Any]]:
    """Do one backward pass with synchronised batch norms over this rank's rows; return gradients and buffers."""
    processes = _join()
    rank = processes.rank
    model = synchronize_batch_norms(make_normed_model(), processes)
    rows = make_rows()[:ROWS_OF_RANK_0] if rank == 0 else make_rows()[ROWS_OF_RANK_0:]
    results = learn(model, rows)
    for name in results:
        if name.endswith(("weight", "bias")):
            dist.all_reduce(results[name])
    dist.destroy_process_group()
    return {name: value.tolist() for name, value in results.items()}


def disagree() -> list[str]:
    """Check models that are equal on all ranks, and then some that are not; return what the second check says."""
    processes = _join()
    seed_all(3)
    model = nn.Linear(1, 2).to(torch.bfloat16)
    nn.init.constant_(model.bias, random.random() + np.random.random())  # noqa: NPY002  # as users do
    check_agreement(model, processes)
    nn.init.constant_(model.bias, processes.rank)
    try:
        check_agreement(model, processes)
    except ConfigError as error:
        return [str(error)]
    finally:
        dist.destroy_process_group()
    return []


def run_activated_norms() -> dict[str, bool]:
    """Say whether a model of timm does the same before and after its norms are synchronised; both ranks hold the same rows."""
    processes = _join()
    install()
    torch.manual_seed(0)
    model = build_model(Model(timm=LibraryModel(name="test_efficientnet")), SampleForm(shape=(32, 32, 3)), 2)
    images = torch.randn(4, 3, 32, 32)
    twin = synchronize_batch_norms(copy.deepcopy(model), processes)
    same = {"train": torch.allclose(model(images), twin(images), atol=1e-4)}
    twin.load_state_dict(model.state_dict())
    same["eval"] = torch.allclose(model.eval()(images), twin.eval()(images), atol=1e-5)
    same["another"] = type(twin.bn2) is not type(model.bn2)
    dist.destroy_process_group()
    return same


def _join() -> Processes:
    dist.init_process_group("gloo")
    group = dist.group.WORLD
    assert group is not None
    rank = int(os.environ["RANK"])
    return Processes(rank=rank, count=dist.get_world_size(), device=torch.device("cpu"), control=group)


def learn(model: nn.Module, rows: Tensor) -> dict[str, Tensor]:
    model(rows).square().sum().backward()
    gradients = {name: value.grad for name, value in model.named_parameters() if value.grad is not None}
    return {**gradients, **dict(model.named_buffers())}


def shard_built_in_models() -> dict[str, str]:
    """Do one backward pass with built-in models of all kinds in shards, and say what differs from models that are whole."""
    processes = _join()
    found = {name: _compare_shards(name, processes) for name in KINDS}
    dist.destroy_process_group()
    return {name: difference for name, difference in found.items() if difference}


def _compare_shards(name: str, processes: Processes) -> str:
    whole, shards = _learn_narrow(name, None), _learn_narrow(name, processes)
    if whole.keys() != shards.keys():
        return f"other names: {whole.keys() ^ shards.keys()}"
    unequal = [key for key, value in whole.items() if not torch.allclose(value, shards[key], rtol=1e-3, atol=1e-4)]
    return f"unequal: {unequal}" if unequal else ""


def _learn_narrow(name: str, processes: Processes | None) -> dict[str, Tensor]:
    """Return gradients and outputs of the same batch on all ranks: the mean over these is the batch's own."""
    torch.manual_seed(0)
    narrow = narrow_model(name, side=33)
    model, (inputs, targets) = narrow.build(), narrow.make_batch()
    if processes is not None:
        shard_model(model, processes, precision=torch.float32)
    torch.manual_seed(1)
    narrow.compute_loss(model(inputs), targets).backward()
    gradients = {key: make_whole(value.grad) for key, value in model.named_parameters() if value.grad is not None}
    model.eval()
    with torch.inference_mode():
        return {**gradients, "outputs": model(inputs)}
