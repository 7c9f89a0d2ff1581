"""How far the run is, as its first rank tells it: the figures of the status, the metrics page and the last report. Pure.

What a retry in place has not reported yet stays as the try before left it, so that figures do not fall to nothing.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from oarlock_trainer.rank_record import RankReading

_MAX_NOTE_CHARACTERS = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """The facts of local rank 0, across the tries in this pod."""

    step: int = 0
    position: int = 0
    report: Mapping[str, Any] = field(default_factory=dict)
    """By field name of `WorkerStatus` and `TerminationRecord`."""

    def updated(self, reading: RankReading | None) -> "Progress":
        if reading is None:
            return self
        return Progress(
            step=self.step if reading.step is None else reading.step,
            position=self.position if reading.position is None else reading.position,
            report={**self.report, **reading.report},
        )

    @property
    def metrics(self) -> dict[str, float]:
        """Finite figures only: JSON has no others."""
        return {name: float(value) for name, value in self._mapping("metrics").items() if _is_finite(value)}

    @property
    def non_finite(self) -> list[str]:
        broken = [name for name, value in self._mapping("metrics").items() if not _is_finite(value)]
        return sorted({*map(str, self.report.get("non_finite") or ()), *broken})

    @property
    def warnings(self) -> list[str]:
        return [str(warning) for warning in self.report.get("warnings") or ()]

    @property
    def notes(self) -> list[str]:
        """What the trainer decided by itself, and why."""
        return [str(note)[:_MAX_NOTE_CHARACTERS] for note in self.report.get("notes") or ()]

    @property
    def safe_step(self) -> int:
        """Step of the latest checkpoint; -1 without one."""
        return int((self.record("checkpoint_latest") or {}).get("step", -1))

    def record(self, name: str) -> dict[str, Any] | None:
        """Return a nested record, such as a `CheckpointFacts`, in wire form."""
        value = self.report.get(name)
        return dict(value) if isinstance(value, Mapping) else None

    def number(self, name: str, default: float = 0.0) -> float:
        value = self.report.get(name)
        return float(value) if value is not None and _is_finite(value) else default

    def _mapping(self, name: str) -> Mapping[str, Any]:
        value = self.report.get(name)
        return value if isinstance(value, Mapping) else {}


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
