"""The figures of a program in a session: their names, what the ranks make of them together, the run log and the reports."""

import re
import time
from collections.abc import Mapping, Sequence
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

    def __init__(self, record: RankRecord, *, log: RunLog | None, steps: int) -> None:
        self._record, self._log, self._steps = record, log, steps
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
        self, step: int, verdict: Verdict, columns: Sequence[str], *, epoch: float | None, eta: float | None
    ) -> None:
        """Take up the figures of the steps that the ranks agreed on."""
        if self._log is None:
            return
        for figures in verdict.figures:
            for number, row in enumerate(figures.means.tolist(), start=figures.first_step):
                self._log.write(build_line("step", number, dict(zip(columns, row, strict=True))))
            self._metrics |= dict(zip(columns, figures.means.mean(axis=0).tolist(), strict=True))
        if verdict.step_seconds > 0:
            self._metrics["stepSeconds"] = verdict.step_seconds
        self.publish(epoch=epoch, eta=eta)
        self._log.flush_now_and_then(time.monotonic())
        self._print(step, columns, eta)

    def note_validation(self, step: int, metrics: Mapping[str, float]) -> None:
        self._metrics |= metrics
        if self._log is None:
            return
        self._log.write(build_line("validation", step, metrics, time=time.time()))
        self.publish()
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
            self.say("checkpoint", step, f"checkpoint of step {result.step} is safe ({result.durable_seconds:.2f} s)")
        self.warn(step, *result.warnings)

    def note_checkpoints(self, *, latest: CheckpointFacts | None, best: CheckpointFacts | None) -> None:
        self._record.report(checkpoint_latest=latest, checkpoint_best=best)

    def publish(self, *, epoch: float | None = None, eta: float | None = None) -> None:
        finite, non_finite = split_finite(self._metrics)
        facts: dict[str, Any] = {"metrics": finite, "non_finite": non_finite}
        given = {"epoch": epoch, "eta_seconds": eta}
        self._record.report(**facts, **{name: value for name, value in given.items() if value is not None})

    def sync(self) -> None:
        if self._log is not None:
            self._log.sync()

    def close(self) -> None:
        if self._log is not None:
            self._log.close()

    def _print(self, step: int, columns: Sequence[str], eta: float | None) -> None:
        now = time.monotonic()
        if now - self._printed < _PRINT_SECONDS:
            return
        self._printed = now
        told = ", ".join(f"{name} {self._metrics[name]:.4g}" for name in columns)
        left = f", {eta:.0f} s left" if eta is not None else ""
        print(f"[{step}/{self._steps}] {told}{left}", flush=True)  # noqa: T201
