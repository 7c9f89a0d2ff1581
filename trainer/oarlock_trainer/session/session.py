"""What a user's program has in its hands: what to keep, the steps, their figures, the data, the result.

The program owns the step; the session owns everything around it.
"""

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from oarlock_api.contract import PROGRAM_FOLDER, PodPhase
from oarlock_trainer.datasets import StoredDataset, open_dataset
from oarlock_trainer.distributed import Processes
from oarlock_trainer.errors import ConfigError, DataMissingError
from oarlock_trainer.order import Order, rows_of_rank
from oarlock_trainer.rank_record import RankRecord
from oarlock_trainer.run_description import write_description
from oarlock_trainer.session.figures import name_figure
from oarlock_trainer.session.patience import telling
from oarlock_trainer.session.place import Place
from oarlock_trainer.session.stepping import StepLoop
from oarlock_trainer.signals import StopRequest
from oarlock_trainer.signs_of_life import beating
from oarlock_trainer.state import ProgramState, Stateful

EXPORT_DIR = "export"
_ON_ALL_RANKS = (
    "rank {rank} waits in session.validated() for the other ranks: every rank must call it, at the same step"
)


class Session:
    """What a program has from `open_session`."""

    def __init__(self, place: Place, processes: Processes, *, record: RankRecord, stop: StopRequest) -> None:
        self._place, self._group, self._record, self._stop = place, processes, record, stop
        self.rank, self.processes, self.device = processes.rank, processes.count, processes.device
        """Global rank, how many processes there are, and the device of this one."""
        self.local_rank, self.attempt, self.seed = place.local_rank, place.attempt, place.run.seed
        self.folder = place.run_dir / PROGRAM_FOLDER
        """A folder of the program's own on the volume, kept between attempts."""
        self._state = ProgramState(model=nn.ModuleDict())
        self._names: set[str] = set()
        self._order: Order | None = None
        self._dataset: StoredDataset | None = None
        self._loop: StepLoop | None = None

    def keep(self, **parts: nn.Module | Stateful) -> None:
        """Have checkpoints hold these: modules, and anything with `state_dict` and `load_state_dict`, by names that stay.

        A module that is wrapped for data-parallel training is kept without its wrapper. All must be equal on all ranks.

        Raises:
            ConfigError: if steps have begun, a name is taken, or a part has no state.
        """
        for name, part in parts.items():
            if self._loop is not None or name in self._names or "/" in name:
                raise ConfigError(
                    f"the part {name!r} comes too late, or twice", remedy="keep each once, before steps()"
                )
            self._names.add(name)
            if isinstance(part, nn.Module):
                self._state.model.add_module(name, _unwrap(part))
            elif hasattr(part, "state_dict") and hasattr(part, "load_state_dict"):
                self._state.parts[name] = part
            else:
                raise ConfigError(f"the part {name!r} has no state_dict", remedy="keep what has a state alone")

    def open_dataset(self) -> StoredDataset:
        """Open the Dataset that the job names.

        Raises:
            DataMissingError: if it names none, or the folder holds another version.
        """
        if self._place.data_dir is None:
            raise DataMissingError("the job names no Dataset", remedy="add spec.dataset")
        dataset = open_dataset(self._place.data_dir)
        expected = self._place.run.dataset_version
        if expected not in ("", dataset.manifest.version):
            raise DataMissingError(
                f"the Dataset must have the version {expected}, it has {dataset.manifest.version}",
                remedy="import the Dataset version that the run names again",
            )
        self._dataset = dataset
        return dataset

    def order(self, *, samples: int, batch_size: int) -> Order:
        """Return which samples each step takes, of all ranks together: a function of the seed and the step alone."""
        self._order = Order(seed=self.seed, samples=samples, batch_size=batch_size)
        return self._order

    def own_rows(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the part of a step's samples that is this rank's."""
        return ids[rows_of_rank(self.rank, self.processes, len(ids))]

    def steps(self, total: int, *, steps_per_epoch: int | None = None) -> Iterator[int]:
        """Yield the steps from the one after the last checkpoint up to `total`, counted from 0; saves on the way and at the end.

        The parts and the random generators are restored when the first step is asked for.

        Args:
            total: steps of the whole run.
            steps_per_epoch: the length of a loader of the program's own; an order says it by itself. Without either, the run
                has no epochs: `checkpoints.every.epochs` has no effect, and reports draw curves over steps.

        Raises:
            TrainerError: if the checkpoint or the volume does not allow the run to go on.
            SystemExit: with 75 once the state is safe, if the job was asked to stop.
        """
        if self._loop is not None:
            raise ConfigError("a session has one loop of steps", remedy="open another session, or make it one loop")
        self._loop = loop = StepLoop(
            self._place,
            self._group,
            self._state,
            record=self._record,
            stop=self._stop,
            order=self._order,
            total=total,
            steps_per_epoch=steps_per_epoch,
        )
        if self._group.leads:
            write_description(self._place.run_dir, self._place.run.model_copy(update={"steps": total}), self._dataset)
        while loop.step < total:
            self._record.beat(PodPhase.TRAINING, step=loop.step, position=self._state.position)
            yield loop.step
            loop.end_step()
            if loop.is_stopping:
                loop.suspend()
        loop.finish()

    def report(self, **figures: Tensor | float) -> None:
        """Tell the figures of the step: means over this rank's samples. The same names at every step and on every rank."""
        self._require_loop().figures_of_step = figures

    def validated(self, **figures: float) -> None:
        """Tell what a validation found; the best checkpoint is kept by the metric that `keepBest` names, if it names one.

        Call it on all ranks at the same step, as `save`: rank 0's figures count, and the others learn of them.
        """
        loop = self._require_loop()
        found = {name_figure(name, split="validation"): float(value) for name, value in figures.items()}
        with telling(_ON_ALL_RANKS.format(rank=self.rank)):
            agreed = loop.question.lead(lambda: found)
        loop.note_validation(agreed)

    def save(self) -> None:
        """Save at the end of this step, whatever the interval says; call it on all ranks."""
        self._require_loop().saves_now = True

    def beat(self) -> None:
        """Give a sign of life within a step that takes long: without one, the progress deadline may pass."""
        self._record.beat(PodPhase.TRAINING)

    def export(self, write: Callable[[Path], object]) -> None:
        """Have rank 0 write the result of the run into a folder that then appears as a whole, as `export` in the job's folder.

        It may take half an hour without a sign of life, before the progress deadline begins to count.
        """
        self._record.beat(PodPhase.EXPORTING)
        if not self._group.leads:
            return
        with beating(partial(self._record.beat, PodPhase.EXPORTING)):
            final = self._place.run_dir / EXPORT_DIR
            partial_folder = final.with_name(EXPORT_DIR + ".partial")
            shutil.rmtree(partial_folder, ignore_errors=True)
            partial_folder.mkdir(parents=True)
            write(partial_folder)
            shutil.rmtree(final, ignore_errors=True)
            partial_folder.rename(final)
        self._record.report(export=EXPORT_DIR)

    def close(self) -> None:
        """Wait for what is being saved; the context does this."""
        if self._loop is not None:
            self._loop.close()

    def _require_loop(self) -> StepLoop:
        if self._loop is None:
            raise ConfigError("there is no step yet", remedy="call it inside the loop over session.steps()")
        return self._loop


def _unwrap(module: nn.Module) -> nn.Module:
    inner = module.module if isinstance(module, DistributedDataParallel) else module
    for name, parameter in inner.named_parameters():
        if isinstance(parameter, DTensor):
            raise ConfigError(
                f"the parameter {name} is sharded, which a session cannot keep yet", remedy="wrap the module in DDP"
            )
    return inner
