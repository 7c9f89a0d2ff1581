"""The main loop of a pod: try, decide, try again in place where that can help, and end with a verdict."""

import time
from collections.abc import Mapping, Sequence

from oarlock_api.contract import Failure, Outcome, PodPhase
from oarlock_trainer.agent import tries
from oarlock_trainer.agent.config import AgentConfig, Mode
from oarlock_trainer.agent.evidence import Evidence, Verdict
from oarlock_trainer.agent.log_tee import LogTee
from oarlock_trainer.agent.progress import Progress
from oarlock_trainer.agent.rendezvous import JoinWatch
from oarlock_trainer.agent.retries import RetryBudget
from oarlock_trainer.agent.status import Board
from oarlock_trainer.agent.stopping import StopRequest
from oarlock_trainer.agent.verdict import decide_verdict
from oarlock_trainer.rank_record import RankReading

_PREPARING = frozenset({PodPhase.STARTING, PodPhase.RENDEZVOUS, PodPhase.LOADING, PodPhase.COMPILING, PodPhase.TUNING})


class Supervisor:
    """Runs the child until there is a verdict on the pod, and keeps the board up to date meanwhile."""

    def __init__(
        self,
        config: AgentConfig,
        *,
        stop: StopRequest,
        board: Board,
        tee: LogTee,
        launcher: Sequence[str] | None = None,
    ) -> None:
        """`launcher` replaces torchrun's, or the importer's, own command line."""
        self._config, self._stop, self._board, self._tee, self._launcher = config, stop, board, tee, launcher
        self._budget = RetryBudget(nodes=config.nodes)
        self._warnings: list[str] = []
        self._join = JoinWatch(config) if config.nodes > 1 else None
        self._earlier = Progress()
        """Progress of the tries before the present one."""

    def run(self, environment: Mapping[str, str]) -> Verdict:
        """Return how the pod ended; nothing of what it ran is alive then.

        Raises:
            TrainerError: if node 0 is not found.
            OSError: if the scratch folder cannot be written or the program cannot be started.
        """
        tries.clear_records(self._config)
        self._find_node_zero()
        while not self._stop.requested:
            evidence = self._try_once(environment)
            verdict = decide_verdict(evidence)
            self._budget = self._budget.observe(self._measure_progress())
            if evidence.unkillable or not self._budget.allows(verdict):
                return verdict
            self._prepare_retry(verdict)
        return Verdict(outcome=Outcome.SUSPENDED)

    def _try_once(self, environment: Mapping[str, str]) -> Evidence:
        attempt = tries.Try(
            self._config,
            retry=self._budget.retries,
            launcher=self._launcher,
            stop=self._stop,
            tee=self._tee,
            on_look=self._show,
            join=self._join,
        )
        self._show(tries.Look())
        evidence = attempt.run(environment)
        self._show(tries.Look(readings=evidence.readings))
        self._earlier = self._board.snapshot.progress
        if evidence.unkillable:
            self._warnings.append(evidence.unkillable)
        return evidence

    def _prepare_retry(self, verdict: Verdict) -> None:
        message = _name_culprit(verdict.failure) if verdict.failure else ""
        delay = self._budget.delay
        self._budget = self._budget.spend()
        self._warnings.append(f"Started again in place ({self._budget.retries}): {message}")
        self._tee.say(f"{message.rstrip('.')}. Starting again in place in {delay:.0f} s, retry {self._budget.retries}.")
        self._show(tries.Look())
        deadline = time.monotonic() + delay
        while not self._stop.requested and time.monotonic() < deadline:
            self._stop.wait(min(tries.TICK_SECONDS, deadline - time.monotonic()))
            self._board.ticked_at = time.monotonic()

    def _find_node_zero(self) -> None:
        if self._join is None:
            return
        self._join.start()
        self._join.wait_for_name(wait=self._wait_for_name, is_stopped=lambda: self._stop.requested)

    def _wait_for_name(self, seconds: float) -> None:
        self._show(tries.Look())
        self._stop.wait(seconds)

    def _measure_progress(self) -> int:
        progress = self._earlier
        return progress.position if self._config.mode is Mode.IMPORT else progress.safe_step

    def _show(self, look: tries.Look) -> None:
        first = look.readings.get(0)
        self._board.ticked_at = time.monotonic()
        self._board.show(
            phase=self._choose_phase(first),
            now=time.time(),
            progress=self._earlier.updated(first),
            readings=dict(look.readings),
            resident_bytes=dict(look.resident_bytes),
            retries=self._budget.retries,
            join=self._join.view if self._join else None,
            stalled=look.stalled,
            warnings=(*self._warnings, *self._tee.warnings),
        )

    def _choose_phase(self, first: RankReading | None) -> PodPhase:
        if self._stop.requested:
            return PodPhase.SUSPENDING
        if first is not None:
            # A program trains from its first instruction on, as far as anybody can know.
            return PodPhase.TRAINING if self._config.program and first.phase in _PREPARING else first.phase
        if self._budget.retries:
            return PodPhase.RETRYING
        return PodPhase.RENDEZVOUS if self._config.nodes > 1 else PodPhase.STARTING


def _name_culprit(failure: Failure) -> str:
    """Return what was found, with the rank, which a rank's own report does not name."""
    is_named = failure.rank is None or failure.message.startswith("Rank ")
    return failure.message if is_named else f"Rank {failure.rank}: {failure.message}"
