"""The real trainer with everything on: per-step figures, run log, agreement, checkpoints every ten minutes."""

import json
import os

from speed.setup import Setup, make_run
from speed.turns import Turns

from oarlock_api.contract import PodPhase
from oarlock_trainer.config import read_config
from oarlock_trainer.loop import train
from oarlock_trainer.rank_record import RankRecord
from oarlock_trainer.signals import StopRequest


class CountingRecord(RankRecord):
    """The trainer's record, which hears of each step."""

    turns: Turns
    last = 0

    def beat(self, phase: PodPhase, *, step: int | None = None, position: int | None = None) -> None:
        super().beat(phase, step=step, position=position)
        if phase is PodPhase.TRAINING and step is not None and step != self.last:
            self.last = step
            self.turns.count_step()


def run(setup: Setup) -> None:
    """Train until the bench has seen enough."""
    environment = {**os.environ, "OARLOCK_RUN": json.dumps(make_run(setup).to_wire())}
    config = read_config(environment, cpus=os.cpu_count() or 1)
    record = CountingRecord.from_environment()
    record.turns = Turns(stretch=setup.stretch, device=setup.find_device(config.local_rank))
    train(config, record, StopRequest())
