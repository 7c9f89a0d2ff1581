"""The figures of a program in a session: their names, what the ranks make of them together, the run log and the reports."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from oarlock_api.contract import CheckpointFacts
from oarlock_api.metrics import METRICS_BY_NAME, RESERVED_NAMES
from oarlock_trainer.agreement import Verdict
from oarlock_trainer.checkpoints import Checkpointer, SaveResult
from oarlock_trainer.errors import ConfigError
from oarlock_trainer.rank_record import RankRecord
from oarlock_trainer.run_log import RunLog, build_line, split_finite
from oarlock_trainer.throughput import Pace

StepFigures = dict[str, Tensor | float]
"""What a program reports of one step."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.\-/]{0,63}")
_PRINT_SECONDS = 5.0


def name_figure(name: str, *, split: str) -> str:
    """Return the full name of a figure: `loss` of a step is `train/loss`, and a name of the program's own stays.

    Raises:
        ConfigError: if it cannot be a name.
    """
    if f"{split}/{name}" in METRICS_BY_NAME:
        return f"{split}/{name}"
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"the name of a figure must be letters, digits and _.-/, got {name!r}", remedy="call it something else"
        )
    full = name if split == "train" or "/" in name else f"{split}/{name}"
    if full in RESERVED_NAMES:
        raise ConfigError(
            f"a figure cannot be called {name!r}, which the run log needs",
            remedy=f"call it {name}Value, or leave it out",
        )
    return full


def build_row(figures: Mapping[str, Tensor | float], device: torch.device) -> Tensor:
    """Return the figures of a step as one row on the device, without waiting for it."""
    kind = torch.float64 if device.type == "cpu" else torch.float32
    values = [torch.as_tensor(value, device=device).detach().reshape(()).to(kind) for value in figures.values()]
    return torch.stack(values) if values else torch.zeros(0, dtype=kind, device=device)


class Figures:
    """Speaks for one rank; all but rank 0 have no log and stay silent."""

    def __init__(
        self, record: RankRecord, *, log: RunLog | None, steps: int, epoch_of: Callable[[int], float | None]
    ) -> None:
        """Speak of a run of `steps` steps; `epoch_of` tells the epochs done after a step, None if nobody said what one is."""
        self._record, self._log, self._steps, self._epoch_of = record, log, steps, epoch_of
        self._metrics: dict[str, float] = {}
        self._warnings: list[str] = []
        self._printed = 0.0
        record.report(steps=steps)

    def say(self, kind: str, step: int, text: str, **facts: Any) -> None:
        """Log an event and print it."""
        if self._log is not None:
            self._log.write(build_line(kind, step, time=time.time(), message=text, **facts))
            self._log.flush()
            print(f"[{step}/{self._steps}] {text}", flush=True)  # noqa: T201  # the pod's output

    def warn(self, step: int, *warnings: str) -> None:
        for warning in warnings:
            self._warnings.append(warning)
            self.say("warning", step, warning)
        if warnings:
            self._record.report(warnings=self._warnings)

    def note_steps(
        self, step: int, verdict: Verdict, columns: Sequence[str], *, pace: Pace | None, eta: float | None
    ) -> None:
        """Take up the figures of the steps that the ranks agreed on."""
        if self._log is None:
            return
        for figures in verdict.figures:
            for number, row in enumerate(figures.means.tolist(), start=figures.first_step):
                self._log.write(
                    build_line("step", number, dict(zip(columns, row, strict=True)), **self._tell_epoch(number))
                )
            self._metrics |= dict(zip(columns, figures.means.mean(axis=0).tolist(), strict=True))
        self._note_pace(step, verdict, pace)
        self.publish(step, eta=eta)
        self._log.flush_now_and_then(time.monotonic())
        self._print(step, columns, eta)

    def note_validation(self, step: int, metrics: Mapping[str, float]) -> None:
        self._metrics |= metrics
        if self._log is None:
            return
        self._log.write(build_line("validation", step, metrics, **self._tell_epoch(step), time=time.time()))
        self.publish(step)
        told = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        print(f"[{step}/{self._steps}] {told}", flush=True)  # noqa: T201

    def note_save(self, step: int, result: SaveResult | None, checkpointer: Checkpointer) -> None:
        """Take up how a save ended, if one did, and what is being saved."""
        self._record.report(checkpoint_in_flight=checkpointer.in_flight)
        if result is None:
            return
        self._metrics["checkpointStallSeconds"] = result.stall_seconds
        self._metrics["checkpointDurableSeconds"] = result.durable_seconds
        self.note_checkpoints(latest=checkpointer.latest, best=checkpointer.best)
        if result.facts is not None:
            self.say(
                "checkpoint",
                step,
                f"checkpoint of step {result.step} is safe ({result.durable_seconds:.2f} s)",
                checkpoint=result.facts.to_wire(),
                finite=result.finite,
                checkpointStallSeconds=result.stall_seconds,
                checkpointDurableSeconds=result.durable_seconds,
            )
        self.warn(step, *result.warnings)

    def note_checkpoints(self, *, latest: CheckpointFacts | None, best: CheckpointFacts | None) -> None:
        self._record.report(checkpoint_latest=latest, checkpoint_best=best)

    def publish(self, step: int, *, eta: float | None = None) -> None:
        """Tell the agent the newest figures."""
        finite, non_finite = split_finite(self._metrics)
        told = {"metrics": finite, "non_finite": non_finite, **self._tell_epoch(step, digits=None)}
        self._record.report(**told, **({} if eta is None else {"eta_seconds": eta}))

    def sync(self) -> None:
        if self._log is not None:
            self._log.sync()

    def close(self) -> None:
        if self._log is not None:
            self._log.close()

    def _note_pace(self, step: int, verdict: Verdict, pace: Pace | None) -> None:
        """Take up the slowest rank's time for a step, and the samples per second of all where it is known what a step takes."""
        if self._log is None or verdict.step_seconds <= 0:
            return
        figures = {"stepSeconds": verdict.step_seconds}
        if pace is not None:
            figures["samplesPerSecond"] = pace.samples_per_second
        self._metrics |= figures
        self._log.write(build_line("pace", step, figures, **self._tell_epoch(step), time=time.time()))

    def _tell_epoch(self, step: int, *, digits: int | None = 6) -> dict[str, float]:
        epoch = self._epoch_of(step)
        if epoch is None:
            return {}
        return {"epoch": epoch if digits is None else round(epoch, digits)}

    def _print(self, step: int, columns: Sequence[str], eta: float | None) -> None:
        now = time.monotonic()
        if now - self._printed < _PRINT_SECONDS:
            return
        self._printed = now
        told = ", ".join(f"{name} {self._metrics[name]:.4g}" for name in columns)
        left = f", {eta:.0f} s left" if eta is not None else ""
        print(f"[{step}/{self._steps}] {told}{left}", flush=True)  # noqa: T201
