"""What a run says of itself: to the agent through the rank record, to the run log, and to whoever reads the pod's output.

Names and units come from the one table in `oarlock_api.metrics`; a figure that the table lacks is a defect. Rank 0 speaks for
the job; the other ranks only beat.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from oarlock_api.contract import CheckpointFacts
from oarlock_api.metrics import COMPUTING_PARTS, METRICS_BY_NAME
from oarlock_trainer.agreement import StepFigures, Verdict
from oarlock_trainer.cadence import Length
from oarlock_trainer.checkpoints import Checkpointer, SaveResult
from oarlock_trainer.journal import Journal
from oarlock_trainer.rank_record import RankRecord
from oarlock_trainer.run_log import build_line, split_finite
from oarlock_trainer.throughput import Pace

_PRINT_SECONDS = 5.0


class Reporter:
    """Speaks for one rank; all but rank 0 have no log and stay silent."""

    def __init__(
        self,
        record: RankRecord,
        *,
        log: Journal | None,
        columns: tuple[str, ...],
        length: Length,
        learning_rate: Callable[[int], float],
        measure_device: Callable[[], dict[str, float]] = dict,
    ) -> None:
        unknown = [name for name in columns if name not in METRICS_BY_NAME]
        assert not unknown, f"not in oarlock_api.metrics: {unknown}"  # noqa: S101  # a defect of ours
        self._record, self._log, self._columns, self._length = record, log, columns, length
        self._learning_rate, self._measure_device = learning_rate, measure_device
        self._metrics: dict[str, float] = {}
        self._warnings: list[str] = []
        self._notes: list[str] = []
        self._printed = 0.0
        record.report(steps=length.steps, epochs=length.epoch(length.steps))

    def say(self, kind: str, step: int, text: str, **facts: Any) -> None:
        """Log an event and print it."""
        if self._log is not None:
            self._log.write(build_line(kind, step, time=time.time(), message=text, **facts))
            self._log.flush()
            print(f"[{step}/{self._length.steps}] {text}", flush=True)  # noqa: T201  # the pod's output

    def introduce(self, *, world_size: int, build: Mapping[str, str]) -> None:
        """Tell the agent how many processes train, and of what versions this one is made."""
        self._record.report(world_size=world_size, build=build)

    def warn(self, step: int, *warnings: str) -> None:
        """Say what the user should know though training goes on."""
        for warning in warnings:
            self._warnings.append(warning)
            self.say("warning", step, warning)
        if warnings:
            self._record.report(warnings=self._warnings)

    def note_choice(self, step: int, kind: str, text: str, **facts: Any) -> None:
        """Say what the trainer decided by itself and why; it stays in the job's messages."""
        self._notes.append(text)
        self.say(kind, step, text, **facts)
        self.show_patience("")

    def recall_choices(self, texts: Iterable[str]) -> None:
        """Keep what was decided in an attempt before in the job's messages."""
        self._notes += texts
        self.show_patience("")

    def show_patience(self, text: str) -> None:
        """Let the job's message end with how near the early end is; an empty text: it is far."""
        self._record.report(notes=[*self._notes, text] if text else self._notes)

    def end_early(self, step: int, reason: str) -> None:
        """Take up that the run ends at `step`, which is its length from now on."""
        self.note_choice(step, "earlyStop", reason)
        self._record.report(steps=step, epochs=self._length.epoch(step), eta_seconds=0)

    def note_steps(self, step: int, verdict: Verdict, pace: Pace | None, *, eta: float | None) -> None:
        """Take up the figures of the steps that the ranks agreed on."""
        if self._log is None:
            return
        for figures in verdict.figures:
            self._log.write(*self._build_step_lines(figures))
            self._metrics |= _mean_columns(self._columns, figures)
        self._metrics["learningRate"] = self._learning_rate(max(0, step - 1))
        figures_of_pace = {**_describe_pace(verdict, pace), **self._measure_device()}
        self._metrics |= figures_of_pace
        self._log.write(build_line("pace", step, figures_of_pace, epoch=self._length.epoch(step), time=time.time()))
        self.warn(step, *self._log.take_troubles())
        self._publish(step, eta=eta)
        self._log.flush_now_and_then(time.monotonic())
        self._print_progress(step, eta)

    def note_validation(self, step: int, metrics: Mapping[str, float], *, seconds: float) -> None:
        """Take up a validation's metrics, by their names in the table."""
        self._metrics |= {**metrics, "validationSeconds": seconds}
        if self._log is None:
            return
        epoch = self._length.epoch(step)
        self._log.write(build_line("validation", step, metrics, epoch=epoch, time=time.time(), seconds=seconds))
        self._publish(step)
        figures = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        print(f"[{step}/{self._length.steps}] epoch {epoch:.2f}: {figures} ({seconds:.1f} s)", flush=True)  # noqa: T201

    def note_save(self, step: int, result: SaveResult | None, checkpointer: Checkpointer) -> None:
        """Take up how a save ended, if one did, and what is being saved."""
        self._record.report(checkpoint_in_flight=checkpointer.in_flight)
        if result is None:
            return
        self._metrics["checkpointStallSeconds"] = result.stall_seconds
        self._metrics["checkpointDurableSeconds"] = result.durable_seconds
        self.note_checkpoints(latest=checkpointer.latest, best=checkpointer.best)
        if result.facts is not None:
            text = f"checkpoint of step {result.step} is safe ({result.durable_seconds:.2f} s, stall {result.stall_seconds:.3f} s)"
            self.say(
                "checkpoint",
                step,
                text,
                checkpoint=result.facts.to_wire(),
                finite=result.finite,
                checkpointStallSeconds=result.stall_seconds,
                checkpointDurableSeconds=result.durable_seconds,
            )
        self.warn(step, *result.warnings)

    def note_checkpoints(self, *, latest: CheckpointFacts | None, best: CheckpointFacts | None) -> None:
        """Report the checkpoints that are verified on the volume."""
        self._record.report(checkpoint_latest=latest, checkpoint_best=best)

    def sync(self) -> None:
        """Make the log durable, before a checkpoint that relies on it."""
        if self._log is not None:
            self._log.sync()

    def close(self) -> None:
        """Make the log durable and close it."""
        if self._log is not None:
            self._log.close()

    def _build_step_lines(self, figures: StepFigures) -> list[dict[str, Any]]:
        return [
            build_line(
                "step",
                step,
                {**dict(zip(self._columns, row, strict=True)), "learningRate": self._learning_rate(step - 1)},
                epoch=round(self._length.epoch(step), 6),
            )
            for step, row in enumerate(figures.means.tolist(), start=figures.first_step)
        ]

    def _publish(self, step: int, *, eta: float | None = None) -> None:
        finite, non_finite = split_finite(self._metrics)
        facts: dict[str, Any] = {"metrics": finite, "non_finite": non_finite, "epoch": self._length.epoch(step)}
        if eta is not None:
            facts["eta_seconds"] = eta
        self._record.report(**facts)

    def _print_progress(self, step: int, eta: float | None) -> None:
        now = time.monotonic()
        if now - self._printed < _PRINT_SECONDS:
            return
        self._printed = now
        names = (*self._columns, "samplesPerSecond")
        figures = ", ".join(f"{name} {self._metrics[name]:.4g}" for name in names if name in self._metrics)
        left = f", {eta:.0f} s left" if eta is not None else ""
        print(f"[{step}/{self._length.steps}] epoch {self._length.epoch(step):.2f}: {figures}{left}", flush=True)  # noqa: T201


def _mean_columns(columns: tuple[str, ...], figures: StepFigures) -> dict[str, float]:
    return dict(zip(columns, figures.means.mean(axis=0).tolist(), strict=True))


def _describe_pace(verdict: Verdict, pace: Pace | None) -> dict[str, float]:
    """Return the slowest rank's times, the parts of a step, which add up to it, and the samples per second of the whole job."""
    if pace is None:
        return {}
    computing = max(0.0, verdict.step_seconds - verdict.wait_seconds)
    rest = max(0.0, computing - sum(verdict.parts))
    return {
        "samplesPerSecond": pace.samples_per_second,
        "stepSeconds": verdict.step_seconds,
        "dataWaitSeconds": verdict.wait_seconds,
        "computeSeconds": computing,
        **(dict(zip(COMPUTING_PARTS, (*verdict.parts, rest), strict=True)) if verdict.parts else {}),
    }
