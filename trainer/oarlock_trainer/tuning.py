"""What the trainer chooses by itself before the first step of a run: micro-batch size and learning rate, as the recipe asks.

All ranks choose alike. Whatever the search trained is undone, random states included, so that the run is the one that it would
have been with the same figures in its recipe. They are part of every checkpoint: a resumed run does not search again.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist

from oarlock_api.contract import PodPhase
from oarlock_api.v1alpha1.recipe import Recipe, Tunable
from oarlock_trainer.batch_finder import find_fastest, find_largest
from oarlock_trainer.batches import Batches, count_parts, list_row_counts
from oarlock_trainer.checkpoints import Snapshot
from oarlock_trainer.choice import Choice
from oarlock_trainer.devices import compute_in
from oarlock_trainer.distributed import Processes, hold_gradients
from oarlock_trainer.learner import Learner
from oarlock_trainer.optimizers import set_learning_rate
from oarlock_trainer.rank_record import RankRecord
from oarlock_trainer.rate_finder import find_rate
from oarlock_trainer.reporting import Reporter
from oarlock_trainer.signals import StopRequest
from oarlock_trainer.state import TrainingState
from oarlock_trainer.tasks import Batch, Task

_SPARE_SHARE_OF_MEMORY = 0.08
"""Of a GPU, left free: validation and fragmentation take a little more than the trials."""
_REPEATS = 2
"""The first pass with another shape allocates; the second is timed."""


def tuned_counter(name: Tunable) -> str:
    """Return the name of the counter that holds what was chosen."""
    return f"tuned/{name}"


@dataclass(slots=True, kw_only=True)
class Tuning:
    """What was chosen, and what is to be said of it."""

    reasons: dict[Tunable, str] = field(default_factory=dict)
    curves: dict[Tunable, Sequence[tuple[float, float]]] = field(default_factory=dict)
    """What was tried, of what was searched for just now."""
    is_broken_off: bool = False
    """Some rank has been asked to stop: the search is done anew when the run resumes."""

    def announce(self, reporter: Reporter, step: int) -> None:
        """Say what was chosen and why, with what was tried if it was just now."""
        reporter.recall_choices(reason for name, reason in self.reasons.items() if name not in self.curves)
        for name, curve in self.curves.items():
            reporter.note_choice(step, "tune", self.reasons[name], tunable=str(name), curve=list(curve))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuner:
    """One rank's means to try things out."""

    learner: Learner
    task: Task
    batches: Batches
    processes: Processes
    record: RankRecord
    stop: StopRequest
    batch_size: int

    def tune(self, recipe: Recipe, state: TrainingState, *, rows: int) -> Tuning:
        """Choose what the recipe leaves to the trainer and `state` does not know yet, and put it into `state.counters`.

        Every rank calls it. `rows` is the most that a process may hold at once.
        """
        tuning = Tuning()
        searches = {
            Tunable.MICRO_BATCH_SIZE: lambda: self._search_rows(rows),
            Tunable.LEARNING_RATE: lambda: self._search_rate(state, rows),
        }
        wanted = [name for name in searches if name in (recipe.tune or ())]
        for name in wanted:
            known = state.counters.get(tuned_counter(name))
            if known is not None:
                tuning.reasons[name] = f"{name} {known:.6g}, chosen before the first step"
                continue
            choice = self._undo_after(state, searches[name])
            if choice is None:
                tuning.is_broken_off = True
                break
            state.counters[tuned_counter(name)] = float(choice.value)
            tuning.reasons[name] = choice.reason
            tuning.curves[name] = choice.curve
        return tuning

    def _undo_after(self, state: TrainingState, search: Callable[[], Choice | None]) -> Choice | None:
        snapshot = Snapshot(state, rank=self.processes.rank, device=self.processes.device)
        try:
            return search()
        finally:
            self.learner.optimizer.zero_grad(set_to_none=True)
            snapshot.restore(state)

    def _search_rate(self, state: TrainingState, rows: int) -> Choice | None:
        held = int(state.counters.get(tuned_counter(Tunable.MICRO_BATCH_SIZE), rows))
        parts = self._count_parts(held)
        return find_rate(lambda step, rate: self._train_step(step, rate, parts), usual=self.learner.highest_rate)

    def _train_step(self, step: int, rate: float, parts: int) -> float | None:
        """Train a step as the loop does; return the mean loss over the global batch."""
        self.record.beat(PodPhase.TUNING)
        batch = self.batches.read(step)
        set_learning_rate(self.learner.optimizer, rate)
        total = 0.0
        for part, is_last in batch.split(parts):
            total += self._pass(part, hold=not is_last)
        self.learner.update()
        return self._agree(total / batch.weight, dist.ReduceOp.SUM)

    def _search_rows(self, limit: int) -> Choice | None:
        least = self.learner.fewest_rows
        choices = list_row_counts(self.batch_size, self.processes.count, limit=limit, least=least)
        self._pass_part(self._take_part(choices[0]))
        # Now the optimizer has its moments, which take memory as well.
        self.learner.update()
        if self.processes.device.type == "cuda":
            return find_largest(self._fits, choices)
        return find_fastest(self._time_rows, choices)

    def _time_rows(self, rows: int) -> float | None:
        part, seconds = self._take_part(rows), 0.0
        for _ in range(_REPEATS):
            began = time.perf_counter()
            self._pass_part(part)
            seconds = time.perf_counter() - began
        return self._agree(seconds, dist.ReduceOp.MAX)

    def _fits(self, rows: int) -> bool | None:
        device = self.processes.device
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        try:
            self._pass_part(self._take_part(rows))
            torch.cuda.synchronize(device)
            is_over = torch.cuda.max_memory_reserved(device) > (1 - _SPARE_SHARE_OF_MEMORY) * total
        except torch.OutOfMemoryError:
            is_over = True
        self.learner.optimizer.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()
        answer = self._agree(float(is_over), dist.ReduceOp.MAX)
        return None if answer is None else not answer

    def _count_parts(self, rows: int) -> int:
        return count_parts(self.batch_size, self.processes.count, rows=rows, least=self.learner.fewest_rows)

    def _take_part(self, rows: int) -> Batch:
        """Return the largest micro-batch of this rank if a process holds so many rows."""
        return self.batches.read(0).largest_part(self._count_parts(rows))

    def _pass_part(self, part: Batch) -> None:
        """Go forward and back with a micro-batch, on this rank alone: no other waits if the memory does not suffice."""
        self.record.beat(PodPhase.TUNING)
        self._pass(part, hold=True)

    def _pass(self, part: Batch, *, hold: bool) -> float:
        """Add the gradients of some rows; return the sum of their losses."""
        with hold_gradients(self.learner.network, hold=hold):
            with compute_in(self.learner.precision, self.processes.device):
                prepared = self.task.prepare(part)
                outputs = self.learner.network(prepared.inputs)
            loss = self.task.compute_loss(outputs, prepared.targets)
            self.learner.backward(loss * (self.processes.count / part.weight))
        return float(loss.detach())

    def _agree(self, value: float, how: Any) -> float | None:
        """Return what holds for all ranks, or None if one of them is to stop."""
        values, stops = torch.tensor([value], dtype=torch.float64), torch.tensor([float(bool(self.stop))])
        dist.all_reduce(values, op=how, group=self.processes.control)
        dist.all_reduce(stops, op=dist.ReduceOp.MAX, group=self.processes.control)
        return None if stops.item() else float(values.item())
