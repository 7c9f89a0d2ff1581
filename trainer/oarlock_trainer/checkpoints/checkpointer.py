"""The one object that the training loop talks to: claim the volume, resume, save in the background, hear how that went.

A save holds up training only while the state is copied; writing, verifying and publishing happen in a thread with a gloo group
of its own, so that `poll` needs no collective and a slow volume costs no step. What it must not do: decide when to save.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.distributed as dist

from oarlock_api.contract import CheckpointFacts
from oarlock_trainer.checkpoints.agreement import Agreement
from oarlock_trainer.checkpoints.catalogue import Catalogue, read_catalogue, sweep
from oarlock_trainer.checkpoints.durability import folder_bytes
from oarlock_trainer.checkpoints.entries import collect_entries, select_own_entries
from oarlock_trainer.checkpoints.fence import Fence
from oarlock_trainer.checkpoints.folders import partial_name, remove_leftovers, restore_replaced
from oarlock_trainer.checkpoints.loading import LoadedCheckpoint, find_checkpoint, read_checkpoint
from oarlock_trainer.checkpoints.manifest import Manifest
from oarlock_trainer.checkpoints.rng import capture_rng
from oarlock_trainer.checkpoints.saving import RunVolume, SaveRequest, write_checkpoint
from oarlock_trainer.checkpoints.staging import Stage
from oarlock_trainer.errors import StorageError
from oarlock_trainer.state import CheckpointedRun, ProgramState, TrainingState

_POLL_SECONDS = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class SaveResult:
    """How a save ended."""

    step: int
    facts: CheckpointFacts | None
    """The checkpoint, verified on the volume; None if the save failed."""
    finite: bool
    """False: it holds values that are not finite, and counts neither as the latest nor as the best."""
    stall_seconds: float
    """For which training waited."""
    durable_seconds: float
    """From the call of `begin_save` until the checkpoint was on the volume, verified and named."""
    warnings: list[str] = field(default_factory=list)
    """What the user should know though training goes on."""
    failure: StorageError | None = None
    """Why nothing was saved."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Published:
    """What rank 0 tells the others after a commit and the sweep that follows it."""

    manifest: Manifest
    facts: CheckpointFacts
    latest: CheckpointFacts | None
    best: CheckpointFacts | None
    warnings: list[str]


class _Flight:
    """A save on its way."""

    def __init__(self, step: int, partial: Path, began: float, stall: float) -> None:
        self.step, self.partial, self.began, self.stall = step, partial, began, stall
        self.chunks = 0
        self.ended: float | None = None
        self.published: _Published | None = None
        self.error: BaseException | None = None
        self.thread: threading.Thread | None = None

    def count_chunk(self) -> None:
        self.chunks += 1

    def run(self, act: Callable[[], _Published]) -> None:
        """Do the work, in the thread; whatever happens is kept for the loop to hear."""
        try:
            self.published = act()
        except BaseException as error:  # noqa: BLE001  # the thread has nobody to raise it to
            self.error = error
        self.ended = time.monotonic()

    @property
    def is_done(self) -> bool:
        return self.ended is not None

    def read_progress(self) -> tuple[int, int]:
        """Return what changes as long as this rank, or another one that writes to the same folder, gets on."""
        return self.chunks, folder_bytes(self.partial)


class Checkpointer:
    """Checkpoints of one run, as one rank sees them; all ranks make the same calls in the same order, `poll` excepted."""

    latest: CheckpointFacts | None = None
    """The newest checkpoint from which the run can go on."""
    best: CheckpointFacts | None = None
    """The best one by the metric that `keepBest` names."""

    def __init__(
        self,
        run_dir: Path,
        *,
        run: CheckpointedRun,
        job_uid: str,
        attempt: int,
        group: dist.ProcessGroup,
        device: torch.device,
        on_beat: Callable[[], None],
    ) -> None:
        fence = Fence(run_dir=run_dir, job_uid=job_uid, attempt=attempt)
        self._volume = RunVolume(run_dir=run_dir, run=run, fence=fence)
        self._agreement = Agreement(group)
        self._device, self._on_beat = device, on_beat
        self._stage = Stage(device)
        self._corrupt: frozenset[int] = frozenset()
        self._flight: _Flight | None = None
        self._unheard: deque[SaveResult] = deque()
        self._failed_before = False
        self.warnings: list[str] = []

    @property
    def in_flight(self) -> int | None:
        """Step of the checkpoint being written."""
        return self._flight.step if self._flight else None

    def claim_fence(self) -> None:
        """Take the run's folder for this attempt; before anything else is called.

        Raises:
            SupersededError: if a later attempt has been here.
        """
        self._agreement.lead(self._volume.fence.claim)

    def load_latest(self, state: TrainingState | ProgramState) -> LoadedCheckpoint | None:
        """Restore the newest checkpoint that is what was written, or return None if there is none.

        Those that were skipped are named in the warnings, and so is what has changed in the user's own code since.

        Raises:
            CheckpointMismatchError: if it is of another data set version, model or recipe.
            StorageError: if there are checkpoints and all are corrupt.
            SupersededError: if a later attempt owns the folder.
        """
        self._agreement.lead(self._clear_leftovers)
        search = find_checkpoint(
            self._volume.checkpoints, self._volume.run, self._agreement, code=state.code, on_chunk=self._on_beat
        )
        self.warnings = search.warnings
        self._corrupt = search.corrupt
        self.latest, self.best = self._agreement.lead(self._read_facts)
        if search.folder is not None:
            read_checkpoint(search.folder, state, self._agreement, device=self._device, on_chunk=self._on_beat)
        return search.to_loaded()

    def begin_save(
        self,
        state: TrainingState | ProgramState,
        *,
        step: int,
        epoch: float,
        metric: float | None = None,
        finite: bool = True,
    ) -> float:
        """Copy the state and start to write it; return the seconds for which training waited.

        A save that is still in flight is waited for first. `metric` is the value of the metric that `keepBest` names, if
        validation ran at this step; one that is not finite ranks nothing. `finite` is what the loop knows; the values themselves are looked at as well.

        Raises:
            StorageError: if the save before failed, and the one before that too.
            SupersededError, CollectiveError: if the save before ended so.
        """
        began = time.monotonic()
        if self._flight is not None:
            self._await_flight()
            self._unheard.append(self._settle())
        request = self._stage_request(state, step=step, epoch=epoch, metric=metric, finite=finite)
        stall = time.monotonic() - began
        self._launch(request, began=began, stall=stall)
        return stall

    def poll(self) -> SaveResult | None:
        """Return how a save ended, once for each, or None; never waits and never talks to other ranks.

        Raises:
            StorageError: if two saves in a row have failed.
            SupersededError, CollectiveError: if the save ended so.
        """
        if self._unheard:
            return self._unheard.popleft()
        if self._flight is None or not self._flight.is_done:
            return None
        return self._settle()

    def finish(self) -> SaveResult | None:
        """Wait for the save in flight and return how it ended, or None if there is none that was not heard of.

        Raises:
            StorageError: if it failed: whoever waits needs it.
            SupersededError, CollectiveError: if it ended so.
        """
        result = self.wait()
        if result is not None and result.failure is not None:
            raise result.failure
        return result

    def wait(self) -> SaveResult | None:
        """Wait for the save in flight and return how it ended, a failure included, as `poll` does.

        Raises:
            StorageError: if two saves in a row have failed.
            SupersededError, CollectiveError: if the save ended so.
        """
        if self._flight is not None:
            self._await_flight()
            self._unheard.append(self._settle())
        result = self._unheard.pop() if self._unheard else None
        self._unheard.clear()
        return result

    def rank(self) -> list[CheckpointFacts]:
        """Return the validated checkpoints on the volume, best first; by their manifests, their data is not looked at."""
        return self._read_catalogue().rank(metric_name=str(self._volume.run.keep_best.metric))

    def _stage_request(
        self, state: TrainingState | ProgramState, *, step: int, epoch: float, metric: float | None, finite: bool
    ) -> SaveRequest:
        rank, size = self._agreement.rank, self._agreement.size
        entries = collect_entries(state, rng=capture_rng(self._device), rank=rank)
        own = select_own_entries(entries, model=state.model, rank=rank, size=size)
        return SaveRequest(
            entries=self._stage.take(own),
            model=state.model,
            needed_bytes=sum(value.nbytes for value in entries.values() if isinstance(value, torch.Tensor)),
            step=step,
            position=state.position,
            epoch=epoch,
            metric=metric if metric is not None and math.isfinite(metric) else None,
            finite=finite,
            code=state.code,
        )

    def _launch(self, request: SaveRequest, *, began: float, stall: float) -> None:
        partial = self._volume.checkpoints / partial_name(request.step, attempt=self._volume.fence.attempt)
        flight = _Flight(request.step, partial, began, stall)
        act = lambda: self._write_and_sweep(request, flight)  # noqa: E731  # what the thread does, in one place
        # A daemon: a process that must end does not wait for a volume that hangs.
        flight.thread = threading.Thread(target=flight.run, args=(act,), name=f"checkpoint-{request.step}", daemon=True)
        self._flight = flight
        flight.thread.start()

    def _write_and_sweep(self, request: SaveRequest, flight: _Flight) -> _Published:
        manifest = write_checkpoint(request, self._volume, self._agreement, on_chunk=flight.count_chunk)
        return self._agreement.lead(lambda: self._sweep(manifest))

    def _sweep(self, manifest: Manifest) -> _Published:
        volume, metric_name = self._volume, str(self._volume.run.keep_best.metric)
        catalogue = read_catalogue(volume.checkpoints, corrupt=self._corrupt - {manifest.step}, metric_name=metric_name)
        warnings = sweep(
            volume.checkpoints, catalogue, keep=volume.run.keep, metric_name=metric_name, fence=volume.fence
        )
        return _Published(
            manifest=manifest,
            facts=catalogue.facts_of(manifest.step),
            latest=catalogue.find_latest(),
            best=catalogue.find_best(metric_name=metric_name),
            warnings=warnings,
        )

    def _await_flight(self) -> None:
        """Wait for the save in flight, with a beat for each sign of progress; a volume that hangs gives none."""
        flight = self._flight
        assert flight is not None  # noqa: S101  # the callers have looked
        seen = None
        while not flight.is_done:
            if (now := flight.read_progress()) != seen:
                seen = now
                self._on_beat()
            time.sleep(_POLL_SECONDS)

    def _settle(self) -> SaveResult:
        """Turn the finished flight into a result, or raise what ends the run."""
        flight = self._flight
        assert flight is not None and flight.ended is not None  # noqa: S101, PT018  # the callers have looked
        self._flight = None
        failure = flight.error
        if isinstance(failure, StorageError) and not self._failed_before:
            self._failed_before = True
            return self._build_result(flight, failure=failure)
        if failure is not None:
            raise failure
        self._failed_before = False
        return self._build_result(flight, failure=None)

    def _build_result(self, flight: _Flight, *, failure: StorageError | None) -> SaveResult:
        published = flight.published
        if published is not None:
            self.latest, self.best = published.latest, published.best
            self._corrupt -= {flight.step}
        warnings = [
            *(published.warnings if published else []),
            *([_describe_failure(flight, failure)] if failure else []),
        ]
        return SaveResult(
            step=flight.step,
            facts=published.facts if published else None,
            finite=published is None or published.manifest.finite,
            stall_seconds=flight.stall,
            durable_seconds=(flight.ended or flight.began) - flight.began,
            warnings=warnings,
            failure=failure,
        )

    def _clear_leftovers(self) -> None:
        self._volume.fence.check()
        restore_replaced(self._volume.checkpoints, attempt=self._volume.fence.attempt)
        remove_leftovers(self._volume.checkpoints, attempt=self._volume.fence.attempt)

    def _read_facts(self) -> tuple[CheckpointFacts | None, CheckpointFacts | None]:
        catalogue = self._read_catalogue()
        return catalogue.find_latest(), catalogue.find_best(metric_name=str(self._volume.run.keep_best.metric))

    def _read_catalogue(self) -> Catalogue:
        metric_name = str(self._volume.run.keep_best.metric)
        return read_catalogue(self._volume.checkpoints, corrupt=self._corrupt, metric_name=metric_name)


def _describe_failure(flight: _Flight, failure: StorageError) -> str:
    return (
        f"the checkpoint of step {flight.step} was not saved and the next one is tried at the next interval: "
        f"{failure}; {failure.remedy}"
    )
