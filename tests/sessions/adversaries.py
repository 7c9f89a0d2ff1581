"""A tiny GAN in a session: two networks, two optimizers, a schedule, dropout and noise. What one rank runs."""

import json
import os
import random
import signal
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from training.exporting_ranks import linger

from oarlock_trainer.errors import TrainerError
from oarlock_trainer.session import Session, open_session

STEPS = 12
EVERY = 4


def make_variables(folder: Path, *, attempt: int = 0) -> dict[str, str]:
    run = {
        "command": ["train.py"],
        "seed": 5,
        "trainingHash": "same",
        "checkpointEvery": {"steps": EVERY},
        "keep": 2,
        "keepBest": {"metric": "validation/accuracy"},
    }
    return {
        "OARLOCK_RUN": json.dumps(run),
        "OARLOCK_RUN_DIR": str(folder),
        "OARLOCK_ATTEMPT": str(attempt),
        "OARLOCK_JOB_UID": "u",
        "OARLOCK_CODE_DIR": str(folder / "code"),
    }


class Memory(nn.Module):
    """Something that is not learned: a buffer that the program replaces at every step, and one that no checkpoint holds."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(4))
        self.register_buffer("rank", torch.tensor(rank), persistent=False)


def train(folder: Path, attempt: int = 0, disturb: str = "", forget: str = "") -> Any:
    """Train; `disturb` is killed or stopped at the eighth step; `forget` is a part that is not kept."""
    os.environ |= make_variables(folder, attempt=attempt)
    try:
        with open_session() as session:
            return run_steps(session, disturb=disturb, forget=forget)
    except SystemExit as end:
        return end.code


def run_steps(session: Session, *, disturb: str, forget: str) -> list[bytes]:
    """Return the weights and buffers of both networks and of the memory."""
    torch.manual_seed(session.seed)
    networks = {
        "generator": nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 4)),
        "discriminator": nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.Linear(8, 1)),
    }
    if session.processes > 1:
        networks = {name: DistributedDataParallel(network) for name, network in networks.items()}
    random.seed(session.rank)
    torch.manual_seed(session.rank)
    generator, discriminator = networks["generator"], networks["discriminator"]
    g_optimizer = torch.optim.Adam(generator.parameters(), lr=0.01)
    d_optimizer = torch.optim.SGD(discriminator.parameters(), lr=0.05, momentum=0.9)
    schedule = torch.optim.lr_scheduler.StepLR(g_optimizer, 3, gamma=0.5)
    memory = Memory(session.rank)
    parts = {**networks, "memory": memory, "g_optimizer": g_optimizer, "d_optimizer": d_optimizer, "schedule": schedule}
    session.keep(**{name: part for name, part in parts.items() if name != forget})
    data = np.random.default_rng(0).normal(1, 1, (50, 4)).astype(np.float32)
    order = session.order(samples=len(data), batch_size=8)
    for step in session.steps(STEPS):
        if step == 2 * EVERY and disturb == "killed" and session.rank == session.processes - 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if step == 2 * EVERY and disturb == "stopped" and session.rank == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        real = torch.from_numpy(data[session.own_rows(order.ids_of_step(step))])
        made = generator(torch.randn(len(real), 4) * random.uniform(0.5, 1.5))
        d_loss = (1 - discriminator(torch.cat([real, made.detach()]))).square().mean()
        d_optimizer.zero_grad()
        d_loss.backward()
        d_optimizer.step()
        g_loss = discriminator(made).square().mean()
        g_optimizer.zero_grad()
        g_loss.backward()
        g_optimizer.step()
        schedule.step()
        memory.seen = memory.seen + torch.from_numpy(data[order.ids_of_step(step)]).mean(dim=0)
        session.report(loss=g_loss, d=d_loss)
    session.validated(accuracy=0.5)
    state = [value for part in (generator, discriminator, memory) for value in part.state_dict().values()]
    return [value.numpy().tobytes() for value in (*state, memory.rank)]


class Counter:
    """Something with a state."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state

    def state_dict(self) -> dict[str, Any]:
        return self.state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.state = state


def report_unequal_figures(folder: Path, kind: str) -> str:
    os.environ |= {"OARLOCK_RUN": "", "OARLOCK_RUN_DIR": str(folder)}
    try:
        with open_session(counter=Counter({})) as session:
            for step in session.steps(2):
                names = {"a": 1.0, "b": 2.0} if (step if kind == "steps" else session.rank) else {"a": 1.0}
                session.report(**names)
    except Exception as error:  # noqa: BLE001  # the test looks at it
        return str(error)
    return ""


def report_no_number(folder: Path, name: str, steps_per_epoch: int | None = None) -> str:
    os.environ |= {"OARLOCK_RUN": "", "OARLOCK_RUN_DIR": str(folder)}
    try:
        with open_session(counter=Counter({})) as session:
            for _ in session.steps(12, steps_per_epoch=steps_per_epoch):
                session.report(**{name: float("nan"), "fine": 1.0})
                session.validated(loss=1.0)
            session.export(lambda _: linger(session._record))
    except TrainerError as error:
        return f"{error} {error.remedy}"
    return ""
