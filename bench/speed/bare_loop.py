"""The loop that one would write by hand, with all samples on the device: what everybody else is compared with."""

import math
import os
from pathlib import Path

import torch
import torch.distributed as dist
from speed.images import Samples, prepare
from speed.setup import RATE, Setup
from speed.turns import Turns
from torch import nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel


def run(setup: Setup) -> None:
    """Train until the bench has seen enough."""
    local_rank = int(os.environ["LOCAL_RANK"])
    device = setup.open_device(local_rank)
    samples = Samples(Path(os.environ["OARLOCK_DATA_DIR"]))
    images, labels = samples.images.to(device), samples.labels.to(device)
    model = setup.build_model(device)
    optimizer = setup.build_optimizer(model)
    network: nn.Module = model
    if setup.processes > 1:
        dist.init_process_group("nccl" if setup.gpu else "gloo")
        network = DistributedDataParallel(model, gradient_as_bucket_view=True)
    torch.manual_seed(local_rank)
    turns = Turns(stretch=setup.stretch, device=device)
    for step in range(setup.steps + setup.stretch):
        for group in optimizer.param_groups:
            group["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * min(1.0, step / setup.steps)))
        rows = torch.randint(0, len(labels), (setup.share,), device=device)
        inputs = prepare(images[rows])
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=setup.bf16):
            outputs = network(inputs)
        functional.cross_entropy(outputs.float(), labels[rows]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        turns.count_step()
