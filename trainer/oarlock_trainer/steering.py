"""What surrounds the steps: agreement, reports, checkpoints, requests to stop. All ranks steer alike, at the same steps."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from oarlock_api.contract import PodPhase
from oarlock_api.v1alpha1.recipe import ValidationInterval
from oarlock_trainer.agreement import Agreement, Proposal, Verdict, choose_interval
from oarlock_trainer.cadence import Length, count_validations
from oarlock_trainer.checkpointing import Saver
from oarlock_trainer.distributed import Processes, adopt_leader_buffers
from oarlock_trainer.divergence import DivergenceWatch
from oarlock_trainer.rank_record import RankRecord
from oarlock_trainer.reporting import Reporter
from oarlock_trainer.signals import StopRequest
from oarlock_trainer.signs_of_life import beating
from oarlock_trainer.step_parts import Laps, fit_parts
from oarlock_trainer.step_statistics import StepStatistics
from oarlock_trainer.throughput import Throughput
from oarlock_trainer.tracing import TraceError, Tracer


@dataclass(slots=True, kw_only=True)
class Steering:
    """One rank's view of the run."""

    agreement: Agreement
    statistics: StepStatistics
    throughput: Throughput
    laps: Laps
    saver: Saver
    watch: DivergenceWatch
    reporter: Reporter
    record: RankRecord
    stop: StopRequest
    tracer: Tracer | None
    """What traces some steps, if this rank is to."""
    length: Length
    validate_every: ValidationInterval
    is_stopping: bool = False
    """All ranks have agreed to stop here."""

    def note_step(self, step: int, row: Tensor, weight: float) -> None:
        """Take up that step number `step` is done, with its figures on the device."""
        self.statistics.push(step, row, weight=weight)
        self.throughput.count_step(self.laps.end_step())
        self.record.beat(PodPhase.TRAINING, step=step, position=step * self.length.batch_size)
        if self.agreement.is_due(step):
            self._adopt(step, self.agreement.exchange(step, self._propose()))

        if self.tracer is not None and self.tracer.ends_after(step):
            self.end_trace(step)

    def begin_trace(self, step: int) -> None:
        """Begin the timeline of steps if it begins with the one after `step`."""
        if self.tracer is None or not self.tracer.begins_after(step):
            return
        with self._beside_training(step):
            self.tracer.begin(step)
            self.laps.listeners.append(self.tracer)

    def end_trace(self, step: int) -> None:
        """Write the timeline if there is one; a validation would be longer than what was asked for, so it ends with it, too."""
        if self.tracer is None or not self.tracer.is_tracing:
            return
        with self._beside_training(step):
            self.laps.listeners.remove(self.tracer)
            self.reporter.note_choice(step, "trace", self.tracer.end(step))

    def note_missed_trace(self, step: int, *, is_over: bool) -> None:
        """Say it if the run goes on, or ends, so that there will be no timeline though the recipe asks for one."""
        if self.tracer is not None and (why := self.tracer.describe_miss(step, is_over=is_over)):
            self.reporter.warn(step, why)

    @contextmanager
    def _beside_training(self, step: int) -> Iterator[None]:
        """Do what takes long, is no training, and may fail."""
        self.throughput.pause(time.monotonic())
        try:
            with beating(partial(self.record.beat, PodPhase.TRAINING)):
                yield
        except TraceError as error:
            self.reporter.warn(step, str(error))
        self.throughput.resume(time.monotonic())

    def settle(self, step: int) -> None:
        """Hear of every step so far, before something that must not miss one."""
        self._adopt(step, self.agreement.settle(step, self._propose()))

    def save(self, step: int, model: nn.Module, processes: Processes, *, metric: float | None) -> None:
        """Begin to save the state after `step` steps, with a log that is complete up to there."""
        self.throughput.pause(time.monotonic())
        self.settle(step)
        self.record.beat(PodPhase.CHECKPOINTING)
        self.reporter.sync()
        adopt_leader_buffers(model, processes)
        now = time.monotonic()
        self.saver.begin(step, metric=metric, finite=self.watch.is_finite, throughput=self.throughput, now=now)
        self.reporter.note_save(step, self.saver.poll(self.throughput), self.saver.checkpointer)
        self.throughput.resume(time.monotonic())

    def finish_saving(self, step: int, model: nn.Module, processes: Processes, *, metric: float | None) -> None:
        """Wait until the state after `step` steps is durable; if saving it failed, it is tried once more.

        Raises:
            StorageError: if it failed again.
        """
        self._await_save(step)
        # All ranks have now heard how every save ended, and agree on whether this step is saved.
        if not self.saver.is_saved(step):
            self.save(step, model, processes, metric=metric)
            self._await_save(step)

    def _await_save(self, step: int) -> None:
        self.reporter.note_save(step, self.saver.wait(self.throughput), self.saver.checkpointer)

    def _propose(self) -> Proposal:
        now = time.monotonic()
        pace, parts = self.throughput.close_window(now), self.laps.close_window()
        save, may_save = self.saver.propose(now)
        return Proposal(
            stop=bool(self.stop),
            step_seconds=pace.step_seconds if pace else 0.0,
            wait_seconds=pace.wait_seconds if pace else 0.0,
            parts=fit_parts(parts, pace.compute_seconds) if pace else (),
            save=save,
            may_save=may_save,
            interval=choose_interval(pace.step_seconds) if pace else 1,
        )

    def _adopt(self, step: int, verdict: Verdict | None) -> None:
        if verdict is None:
            return
        self.is_stopping = self.is_stopping or verdict.stop
        self.saver.adopt(save=verdict.save, may_save=verdict.may_save)
        self.reporter.note_steps(step, verdict, self.throughput.pace, eta=self._forecast(step))
        self.reporter.note_save(step, self.saver.poll(self.throughput), self.saver.checkpointer)
        for figures in verdict.figures:
            self.watch.see(figures.first_step, figures.means[:, 0].tolist())

    def _forecast(self, step: int) -> float | None:
        left = count_validations(step, every=self.validate_every, length=self.length)
        return self.throughput.forecast(steps_left=self.length.steps - step, validations_left=left)
