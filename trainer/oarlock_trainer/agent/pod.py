"""The whole life of a pod: from its variables to its exit code, with a last report whatever happens between."""

import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

from oarlock_api import contract
from oarlock_api.contract import Cause, Failure, Outcome, PodPhase, TerminationRecord
from oarlock_trainer.agent import process_tree
from oarlock_trainer.agent.config import AgentConfig, Mode, read_config
from oarlock_trainer.agent.evidence import Verdict
from oarlock_trainer.agent.log_tee import LogTee
from oarlock_trainer.agent.server import StatusServer
from oarlock_trainer.agent.status import Board
from oarlock_trainer.agent.stopping import StopRequest
from oarlock_trainer.agent.supervision import Supervisor
from oarlock_trainer.agent.termination import build_termination_record, clip_failure, write_termination_record
from oarlock_trainer.agent.verdict import exit_code_for
from oarlock_trainer.errors import ConfigError, StorageError, TrainerError

_CLOSE_SECONDS = 5.0
_KILL_SECONDS = 20.0


def run_pod(mode: Mode, environment: Mapping[str, str], *, launcher: Sequence[str] | None = None) -> int:
    """Run what the variables ask for and return the pod's exit code.

    Must be called in the main thread of a process that has no other children. `launcher` replaces torchrun's, or the
    importer's, command line.
    """
    process_tree.become_subreaper()
    stop = StopRequest()
    stop.install()
    try:
        config = read_config(mode, environment)
    except ConfigError as error:
        return _refuse(environment, error)
    board = Board(now=time.time())
    tee = LogTee(log_file=_log_file(config))
    verdict = _supervise(config, environment, stop=stop, board=board, tee=tee, launcher=launcher)
    return _report(config, board, tee, verdict)


def _supervise(
    config: AgentConfig,
    environment: Mapping[str, str],
    *,
    stop: StopRequest,
    board: Board,
    tee: LogTee,
    launcher: Sequence[str] | None,
) -> Verdict:
    """Supervise, and turn whatever goes wrong in the agent itself into a verdict too."""
    try:
        StatusServer(config, board)
        return Supervisor(config, stop=stop, board=board, tee=tee, launcher=launcher).run(environment)
    except TrainerError as error:
        return _build_own_failure(config, error)
    except OSError as error:
        return _build_own_failure(config, StorageError.from_os_error(error, doing="starting the processes of this pod"))
    except Exception as error:  # noqa: BLE001  # the pod must leave a last report even where the agent is wrong
        tee.say(traceback.format_exc())
        return _build_own_failure(config, error)
    finally:
        _kill_rest(tee)


def _build_own_failure(config: AgentConfig, error: Exception) -> Verdict:
    known = isinstance(error, TrainerError)
    failure = Failure(
        cause=error.cause if isinstance(error, TrainerError) else Cause.UNKNOWN,
        message=str(error) if known else f"The agent failed: {type(error).__name__}: {error}",
        remedy=error.remedy if isinstance(error, TrainerError) else "this is an error in Oarlock: please report it",
        node=config.node,
        phase=PodPhase.STARTING,
        detail="" if known else "".join(traceback.format_exception(error)),
    )
    return Verdict(outcome=Outcome.FAILED, failure=failure)


def _report(config: AgentConfig, board: Board, tee: LogTee, verdict: Verdict) -> int:
    board.show(phase=PodPhase.FINISHED, now=time.time())
    tee.say(_describe(verdict))
    try:
        write_termination_record(config.termination_log, build_termination_record(config, board.snapshot, verdict))
    except OSError as error:
        tee.say(f"The termination record cannot be written to {config.termination_log}: {error}")
    tee.close(timeout=_CLOSE_SECONDS)
    return exit_code_for(verdict)


def _refuse(environment: Mapping[str, str], error: ConfigError) -> int:
    """End for want of a usable configuration, leaving a last report where even that is known."""
    failure = Failure(cause=error.cause, message=str(error), remedy=error.remedy, phase=PodPhase.STARTING)
    verdict = Verdict(outcome=Outcome.FAILED, failure=failure)
    print(f"[oarlock agent] {_describe(verdict)}", file=sys.stderr, flush=True)  # noqa: T201  # there is no log yet
    attempt = environment.get(contract.ATTEMPT_ENV, "")
    record = TerminationRecord(
        job_uid=environment.get(contract.JOB_UID_ENV, ""),
        run_hash=environment.get(contract.RUN_HASH_ENV, ""),
        attempt=int(attempt) if attempt.isdigit() else 0,
        node=0,
        outcome=verdict.outcome,
        failure=clip_failure(failure),
    )
    try:
        write_termination_record(
            Path(environment.get(contract.TERMINATION_LOG_ENV) or contract.TERMINATION_LOG), record
        )
    except OSError as problem:
        print(f"[oarlock agent] The termination record cannot be written: {problem}", file=sys.stderr)  # noqa: T201
    return exit_code_for(verdict)


def _kill_rest(tee: LogTee) -> None:
    try:
        process_tree.kill_tree(timeout=_KILL_SECONDS)
    except TimeoutError as error:
        tee.say(str(error))


def _log_file(config: AgentConfig) -> Path | None:
    if config.run_dir is None:
        return None
    return config.run_dir / "logs" / f"attempt-{config.attempt}-node-{config.node}.log"


def _describe(verdict: Verdict) -> str:
    failure = verdict.failure
    if failure is None:
        return " ".join((f"{verdict.outcome}.", *verdict.warnings))
    remedy = f" Remedy: {failure.remedy}." if failure.remedy else ""
    return f"{verdict.outcome}: {failure.cause}: {failure.message}{remedy}"
