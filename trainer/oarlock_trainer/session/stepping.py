"""The run of a program's steps: restore, count, exchange figures, save, stop when asked; at the same steps on all ranks."""

import time
from functools import partial

import numpy as np
import torch

from oarlock_api.contract import EXIT_SUSPENDED, PodPhase
from oarlock_api.metrics import is_as_good
from oarlock_api.run import ScriptRun
from oarlock_trainer.agreement import Agreement, Proposal, Verdict, choose_interval
from oarlock_trainer.cadence import Length, SaveClock, SavePlan
from oarlock_trainer.checkpointing import Saver
from oarlock_trainer.checkpoints import Checkpointer, SaveResult
from oarlock_trainer.checkpoints.agreement import Agreement as Question
from oarlock_trainer.distributed import Processes, adopt_leader_buffers
from oarlock_trainer.divergence import DivergenceWatch
from oarlock_trainer.errors import ConfigError
from oarlock_trainer.machine import describe_machine
from oarlock_trainer.order import Order
from oarlock_trainer.own_code import digest_code
from oarlock_trainer.rank_record import RankRecord
from oarlock_trainer.run_log import RunLog
from oarlock_trainer.session.figures import Figures, StepFigures, build_row, name_figure
from oarlock_trainer.session.place import Place
from oarlock_trainer.signals import StopRequest
from oarlock_trainer.state import ProgramState, best_counter
from oarlock_trainer.step_statistics import StepStatistics
from oarlock_trainer.throughput import Throughput

_STEP = "step"
_LOSS = "train/loss"
"""What a program that reports `loss` is watched by; other figures may be infinite, a gradient's norm or a distance for example."""
_REMEDY = "lower the program's learning rate, warm it up, clip gradients, or leave out steps whose loss is not finite"
_ENDLESS = 2**62
"""Samples of an epoch where nobody says how many there are: none ever ends."""


class StepLoop:
    """The run of the steps."""

    def __init__(
        self,
        place: Place,
        group: Processes,
        state: ProgramState,
        *,
        record: RankRecord,
        stop: StopRequest,
        order: Order | None,
        total: int,
        steps_per_epoch: int | None,
    ) -> None:
        """Restore the state of the last checkpoint, if there is one; `order` says how samples become epochs, or else the program.

        Raises:
            ConfigError: if both say it, or the epoch has no step.
        """
        self._group, self._state, self._record, self._stop = group, state, record, stop
        run = place.run.model_copy(update={"steps": total})
        self.question = Question(self._group.control)
        self.is_stopping = self.saves_now = False
        self.figures_of_step: StepFigures = {}
        self._best_by = str(run.keep_best.metric) if run.ranked is not False else None
        self._metric: float | None = None
        self._length = measure_length(total, order=order, steps_per_epoch=steps_per_epoch)
        self._batch_size = self._length.batch_size
        self._counts_samples = order is not None
        checkpointer = self._restore(place, run)
        self.step = int(self._state.counters.get(_STEP, 0))
        log = RunLog(place.run_dir) if self._group.leads else None
        if log is not None:
            log.rewind(self.step)
        self._figures = Figures(self._record, log=log, steps=total, epoch_of=self._epoch)
        now = time.monotonic()
        plan = SavePlan(
            every=run.checkpoint_every, length=self._length, last_step=self.step, saved_step=self.step or None
        )
        self._saver = Saver(checkpointer, self._state, plan=plan, clock=SaveClock(run.checkpoint_every, now=now))
        self._throughput = Throughput(batch_size=self._batch_size, now=now)
        self._watch = DivergenceWatch(remedy=_REMEDY)
        self._columns: tuple[str, ...] | None = None
        self._statistics = StepStatistics(columns=0)
        self._agreement = Agreement(self._group.control, statistics=self._statistics, step=self.step)
        self._figures.note_checkpoints(latest=checkpointer.latest, best=checkpointer.best)
        where = f"from the checkpoint of step {self.step}" if self.step else "from the beginning"
        self._figures.say(
            "start", self.step, f"a session of {self._group.count} processes, {where}", **self._describe(place)
        )
        self._figures.warn(self.step, *checkpointer.warnings)
        if (epochs := self._epoch(total)) is not None:
            self._record.report(epochs=epochs)

    def _describe(self, place: Place) -> dict[str, object]:
        device, own = self._group.device.type, describe_machine()
        facts = {"attempt": place.attempt, "processes": self._group.count, "device": device, "torch": torch.__version__}
        return {**facts, **own}

    def _restore(self, place: Place, run: ScriptRun) -> Checkpointer:
        self._record.beat(PodPhase.LOADING)
        place.run_dir.mkdir(parents=True, exist_ok=True)
        checkpointer = Checkpointer(
            place.run_dir,
            run=run,
            job_uid=place.job_uid,
            attempt=place.attempt,
            group=self._group.control,
            device=self._group.device,
            on_beat=partial(self._record.beat, PodPhase.CHECKPOINTING),
        )
        checkpointer.claim_fence()
        self._state.code = digest_code("__main__", folder=place.code_dir)
        checkpointer.load_latest(self._state)
        return checkpointer

    def end_step(self) -> None:
        """Count the step that the program has done, and do what falls due after it."""
        self.step += 1
        self._state.position = self.step * self._batch_size
        self._state.counters[_STEP] = self.step
        self._push_figures()
        self._throughput.count_step(0.0)
        self._record.beat(PodPhase.TRAINING, step=self.step, position=self._state.position)
        if self._agreement.is_due(self.step):
            self._adopt(self._agreement.exchange(self.step, self._propose()))
        at_once = self.is_stopping or self.saves_now or self.step >= self._length.steps
        if self._saver.must_save(self.step, at_once=at_once, metric=self._metric):
            self._save()
        self._metric, self.saves_now = None, False

    def note_validation(self, found: dict[str, float]) -> None:
        """Take up a validation; one that is as good as the best before is saved."""
        self._figures.note_validation(self.step + 1, found)
        value = found.get(self._best_by) if self._best_by is not None else None
        if self._best_by is None or value is None or not np.isfinite(value):
            return
        best = self._state.counters.get(best_counter(self._best_by))
        self._metric = value
        if best is None or is_as_good(self._best_by, value, best):
            self._state.counters[best_counter(self._best_by)] = value
            self.saves_now = True

    def suspend(self) -> None:
        """End the process once the state is safe.

        Raises:
            SystemExit: always.
        """
        self._record.beat(PodPhase.SUSPENDING)
        self._finish_saving()
        self._figures.say("suspended", self.step, f"stopped on request; step {self.step} is safe")
        self._figures.close()
        raise SystemExit(EXIT_SUSPENDED)

    def finish(self) -> None:
        """Wait until the state after the last step is durable."""
        self._settle()
        self._watch.end()
        self._finish_saving()
        self._figures.publish(self.step, eta=0.0)
        self._figures.say("finished", self.step, f"all {self.step} steps are done")

    def close(self) -> None:
        self._await_save()
        self._figures.close()

    def _push_figures(self) -> None:
        named = {name_figure(name, split="train"): value for name, value in self.figures_of_step.items()}
        if self._columns is None:
            self._agree_on_columns(tuple(named))
        if tuple(named) != self._columns:
            raise ConfigError(
                f"step {self.step} reports {', '.join(named) or 'nothing'}, the steps before {', '.join(self._columns or ())}",
                remedy="report the same figures, in the same order, at every step",
            )
        # Sums over the ranks, divided by their number, are means.
        row = build_row(named, self._group.device)
        self._statistics.push(self.step, row, weight=float(self._group.count))
        self.figures_of_step = {}

    def _agree_on_columns(self, mine: tuple[str, ...]) -> None:
        everyone = self.question.gather(lambda: mine)
        if len(set(everyone)) > 1:
            raise ConfigError(
                f"the ranks report different figures: {everyone[0]} and {next(each for each in everyone if each != everyone[0])}",
                remedy="report the same figures on every rank",
            )
        self._columns = mine
        self._statistics.columns = len(mine)

    def _save(self) -> None:
        self._throughput.pause(time.monotonic())
        self._settle()
        self._record.beat(PodPhase.CHECKPOINTING)
        self._figures.sync()
        adopt_leader_buffers(self._state.model, self._group)
        self._saver.begin(
            self.step,
            metric=self._metric,
            finite=self._watch.is_finite,
            throughput=self._throughput,
            now=time.monotonic(),
        )
        self._note_save(self._saver.poll(self._throughput))
        self._throughput.resume(time.monotonic())

    def _finish_saving(self) -> None:
        """If saving the last state failed, it is tried once more."""
        self._await_save()
        if not self._saver.is_saved(self.step):
            self._save()
            self._await_save()

    def _await_save(self) -> None:
        self._note_save(self._saver.wait(self._throughput))

    def _note_save(self, result: SaveResult | None) -> None:
        self._figures.note_save(self.step, result, self._saver.checkpointer)

    def _settle(self) -> None:
        self._adopt(self._agreement.settle(self.step, self._propose()))

    def _propose(self) -> Proposal:
        now = time.monotonic()
        pace = self._throughput.close_window(now)
        save, may_save = self._saver.propose(now)
        return Proposal(
            stop=bool(self._stop),
            step_seconds=pace.step_seconds if pace else 0.0,
            wait_seconds=0.0,
            save=save,
            may_save=may_save,
            interval=choose_interval(pace.step_seconds) if pace else 1,
        )

    def _adopt(self, verdict: Verdict | None) -> None:
        if verdict is None:
            return
        self.is_stopping = self.is_stopping or verdict.stop
        self._saver.adopt(save=verdict.save, may_save=verdict.may_save)
        eta = self._throughput.forecast(steps_left=self._length.steps - self.step, validations_left=0)
        pace = self._throughput.pace if self._counts_samples else None
        self._figures.note_steps(self.step, verdict, self._columns or (), pace=pace, eta=eta)
        self._note_save(self._saver.poll(self._throughput))
        loss = self._columns.index(_LOSS) if self._columns and _LOSS in self._columns else None
        for figures in verdict.figures if loss is not None else ():
            self._watch.see(figures.first_step, figures.means[:, loss].tolist())

    def _epoch(self, step: int) -> float | None:
        return None if self._length.train_samples == _ENDLESS else self._length.epoch(step)


def measure_length(total: int, *, order: Order | None, steps_per_epoch: int | None) -> Length:
    """Return how long the run is, and what an epoch of it is: of samples if there is an order of them, else of steps.

    Raises:
        ConfigError: if both say it, or the epoch has no step.
    """
    if order is not None and steps_per_epoch is not None:
        raise ConfigError(
            "the order says already how many steps an epoch has",
            remedy="leave steps_per_epoch out, or do without order()",
        )
    if steps_per_epoch is not None and steps_per_epoch < 1:
        raise ConfigError(
            f"steps_per_epoch must be at least 1, got {steps_per_epoch}", remedy="leave it out, or correct it"
        )
    if order is not None:
        return Length(steps=total, batch_size=order.batch_size, train_samples=order.samples)
    return Length(steps=total, batch_size=1, train_samples=steps_per_epoch or _ENDLESS)
