"""Saves when it is time: joins the plan, rank 0's clock and the checkpointer, and keeps what they say in step on all ranks."""

from oarlock_trainer.cadence import SaveClock, SavePlan
from oarlock_trainer.checkpoints import Checkpointer, SaveResult
from oarlock_trainer.state import ProgramState, TrainingState
from oarlock_trainer.throughput import Throughput


class Saver:
    """Decides when to save, and what saving costs."""

    def __init__(
        self, checkpointer: Checkpointer, state: TrainingState | ProgramState, *, plan: SavePlan, clock: SaveClock
    ) -> None:
        self.checkpointer = checkpointer
        self._state = state
        self._plan, self._clock = plan, clock

    def is_due(self, step: int) -> bool:
        """Say whether a periodic checkpoint is due after `step` steps; the same on all ranks."""
        return self._plan.is_due(step)

    def is_saved(self, step: int) -> bool:
        """Say whether the state after `step` steps has been saved, or is being saved."""
        return self._plan.saved_step == step

    def must_save(self, step: int, *, at_once: bool, metric: float | None) -> bool:
        """Say whether to save after `step` steps; the same on all ranks.

        A run that was stopped is saved before it is validated. When it resumes and the metric of that step is known, the step
        is saved again with it: no later checkpoint would tell that this one may be the best.

        Args:
            step: Steps done.
            at_once: Save whatever the interval says.
            metric: What a validation found just now.
        """
        if self.is_saved(step):
            return metric is not None
        return at_once or self.is_due(step)

    def propose(self, now: float) -> tuple[bool, bool]:
        """Return whether a checkpoint is due by this rank's clock, and whether it is worth its cost."""
        return self._clock.is_due(now), self._clock.is_worth_it(now)

    def adopt(self, *, save: bool, may_save: bool) -> None:
        """Take up what the ranks agreed on."""
        self._plan = self._plan.after_verdict(save=save, may_save=may_save)

    def begin(self, step: int, *, metric: float | None, finite: bool, throughput: Throughput, now: float) -> None:
        """Start to save the state after `step` steps; every rank does so at the same one."""
        throughput.begin_save()
        epoch = self._plan.length.epoch(step)
        self.checkpointer.begin_save(self._state, step=step, epoch=epoch, metric=metric, finite=finite)
        self._plan = self._plan.after_save(step)
        self._clock.note_save(now)

    def poll(self, throughput: Throughput) -> SaveResult | None:
        """Return how a save ended, once, without waiting."""
        return self._take_up(self.checkpointer.poll(), throughput)

    def wait(self, throughput: Throughput) -> SaveResult | None:
        """Wait for the save in flight; if it failed, its step does not count as saved any more, on all ranks."""
        return self._take_up(self.checkpointer.wait(), throughput)

    def _take_up(self, result: SaveResult | None, throughput: Throughput) -> SaveResult | None:
        if result is not None:
            stall, durable = result.stall_seconds, result.durable_seconds
            self._clock.note_cost(throughput.end_save(stall_seconds=stall, durable_seconds=durable))
            if result.failure is not None:
                self._plan = self._plan.after_failed_save(result.step)
        return result
