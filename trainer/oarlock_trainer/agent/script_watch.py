"""What the agent sees of a program that tells it nothing, or only through its progress file: the readings of its ranks.

Level 0: the ranks' processes, their end, what they print, the time they compute. Level 1: rank 0 appends to the progress file.
Level 2: the ranks keep records, through `oarlock_trainer.session`; then they need not be watched from outside.
"""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from oarlock_api.contract import PodPhase
from oarlock_api.script_reports import ScriptLevel
from oarlock_trainer.agent import procfs
from oarlock_trainer.agent.config import AgentConfig
from oarlock_trainer.agent.log_tee import LogSink, LogTee, open_log
from oarlock_trainer.agent.program import progress_path
from oarlock_trainer.agent.program_progress import BadLineError, ProgramProgress, ProgressFile, parse_line
from oarlock_trainer.rank_record import RankReading

_ACTIVITY_SECONDS = 2.0
_LOG_NAME = "log.jsonl"
_MAX_LOG_BYTES = 64 * 1024 * 1024


class ScriptWatch:
    """Watches the program of one start of torchrun."""

    def __init__(self, config: AgentConfig, *, retry: int, tee: LogTee) -> None:
        self._config, self._tee = config, tee
        self._file = ProgressFile(progress_path(config, retry=retry))
        self._leads = config.node == 0
        self._log: LogSink | None = None
        self._started: dict[int, float] = {}
        self._progress = ProgramProgress()
        self._activity: dict[str, Any] = {}
        self._measured: tuple[float, float] | None = None

    def look(self, ranks: Mapping[int, int], recorded: Mapping[int, RankReading]) -> dict[int, RankReading]:
        """Return a reading for each rank that was seen, by its own record where it keeps one.

        Args:
            ranks: process by local rank.
            recorded: readings of the ranks' own records.
        """
        now = time.time()
        self._read_progress(now)
        self._measure(now)
        return {rank: self._describe(rank, pid, recorded.get(rank), now) for rank, pid in ranks.items()}

    def is_counted(self, local_rank: int, reading: RankReading) -> bool:
        """Say whether a rank's counter shows progress: by its record, or by the file to which rank 0 writes."""
        return not reading.is_outside or (self._leads and local_rank == 0 and self._progress.lines > 0)

    def close(self) -> None:
        if self._log is not None:
            self._log.close(timeout=1.0)

    def _describe(self, local_rank: int, pid: int, record: RankReading | None, now: float) -> RankReading:
        since = self._started.setdefault(local_rank, now)
        writes = self._leads and local_rank == 0
        progress = self._progress if writes else ProgramProgress()
        if record is not None:
            level, facts = ScriptLevel.SESSION, {**record.report}
        else:
            level = ScriptLevel.PROGRESS if progress.lines else ScriptLevel.WATCHED
            facts = progress.to_report() if progress.lines or progress.refused else {}
        if writes:
            facts |= {"level": level, "activity": self._activity}
        if record is not None:
            return replace(record, report=facts)
        return RankReading(
            rank=self._config.first_rank + local_rank,
            pid=pid,
            phase=PodPhase.TRAINING,
            counter=progress.lines,
            step=progress.step,
            position=None,
            since=progress.since or since,
            report=facts,
            is_outside=True,
        )

    def _read_progress(self, now: float) -> None:
        if not self._leads:
            return
        try:
            for text in self._file.read_lines():
                self._take(text, now)
        except OSError as error:
            self._progress = self._progress.refused_line(f"it cannot be read: {error.strerror or error}")

    def _take(self, text: bytes, now: float) -> None:
        try:
            line = parse_line(text)
        except BadLineError as error:
            self._progress = self._progress.refused_line(str(error))
            return
        self._progress = self._progress.updated(line, now=now)
        self._write_log(now, line.metrics)

    def _write_log(self, now: float, metrics: Mapping[str, float]) -> None:
        """Add a line to the run log, as the trainer's own run log has them; a volume that hangs costs lines, nothing else."""
        folder = self._config.run_dir
        if folder is None or self._progress.step is None:
            return
        if self._log is None:
            path = folder / _LOG_NAME
            self._log = LogSink(str(path), lambda: open_log(path), limit=_MAX_LOG_BYTES)
        finite = {name: value for name, value in metrics.items() if value - value == 0}
        broken = sorted(metrics.keys() - finite.keys())
        wire = {"kind": "step", "step": self._progress.step, "epoch": self._progress.epoch, "time": now}
        wire |= {"attempt": self._config.attempt, **({"nonFinite": broken} if broken else {})}
        line = {**wire, **finite, **wire}  # a figure cannot take the place of what the line says of itself
        self._log.put((json.dumps(line, separators=(",", ":"), allow_nan=False) + "\n").encode())

    def _measure(self, now: float) -> None:
        """Measure how busy the pod is; every few seconds, since it looks at all of its processes."""
        before = self._measured
        if before is not None and now - before[0] < _ACTIVITY_SECONDS:
            return
        used = sum(procfs.read_cpu_seconds(pid) or 0.0 for pid in procfs.list_descendants(os.getpid()))
        cores = max(0.0, used - before[1]) / (now - before[0]) if before and now > before[0] else None
        self._measured = now, used
        self._activity = {"cpuSeconds": round(used, 2)}
        if cores is not None:
            self._activity["cpuCores"] = round(cores, 2)
        if self._tee.last_output_at is not None:
            self._activity["lastOutput"] = self._tee.last_output_at
