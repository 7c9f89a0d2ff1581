"""One import: `python -m oarlock_trainer.importing`, started by the agent of an import pod, or by hand.

Reads OARLOCK_RUN (an `ImportRun`), OARLOCK_DATA_DIR, OARLOCK_SOURCE_DIR (for a volume source), OARLOCK_SCRATCH_DIR
(for a package) and OARLOCK_ATTEMPT; reports
through a rank record; its exit code is that of the contract for how it ended.
"""

import json
import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from oarlock_api import contract
from oarlock_api.contract import EXIT_CODES, EXIT_SUCCESS, EXIT_SUSPENDED, Cause, Failure, Outcome, PodPhase
from oarlock_api.run import ImportRun
from oarlock_trainer.errors import ConfigError, StorageError, TrainerError
from oarlock_trainer.importing.importer import ImportFolders, import_dataset
from oarlock_trainer.importing.progress import ImportProgress, ImportStoppedError
from oarlock_trainer.rank_record import RankRecord
from oarlock_trainer.signals import watch_for_stop

_DETAIL_CHARACTERS = 1500


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Import, and return the exit code."""
    record = RankRecord.from_environment()
    with watch_for_stop() as stop:
        progress = ImportProgress(record, stop=lambda: bool(stop))
        try:
            run, folders = read_environment(environment)
            facts = import_dataset(run, folders, progress=progress)
        except ImportStoppedError:
            progress.note("stopped on request; what is finished is used by the next import")
            record.finish(Outcome.SUSPENDED)
            return EXIT_SUSPENDED
        except Exception as error:  # noqa: BLE001  # translated once, here, for everything that can go wrong
            return _fail(record, progress, build_failure(error))
    record.report(dataset=facts)
    record.beat(PodPhase.FINISHED)
    record.finish(Outcome.SUCCEEDED)
    return EXIT_SUCCESS


def read_environment(environment: Mapping[str, str]) -> tuple[ImportRun, ImportFolders]:
    """Return what the variables of the contract say.

    Raises:
        ConfigError: if one is missing or wrong.
    """
    remedy = "start the import through the operator, or set the variable as oarlock_api.contract describes it"
    for name in (contract.RUN_ENV, contract.DATA_DIR_ENV):
        if not environment.get(name):
            raise ConfigError(f"the variable {name} is not set", remedy=remedy)
    try:
        run = ImportRun.from_wire(json.loads(environment[contract.RUN_ENV]))
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(map(str, first["loc"]))
        raise ConfigError(
            f"{contract.RUN_ENV} is not an import: {path}: {first['msg']}",
            remedy="run operator and importer of one version",
        ) from error
    except ValueError as error:
        raise ConfigError(f"{contract.RUN_ENV} is not JSON: {error}", remedy=remedy) from error
    source, scratch = environment.get(contract.SOURCE_DIR_ENV), environment.get(contract.SCRATCH_DIR_ENV)
    return run, ImportFolders(
        data=Path(environment[contract.DATA_DIR_ENV]),
        scratch=Path(scratch) if scratch else None,
        source=Path(source) if source else None,
        attempt=_read_attempt(environment),
    )


def _read_attempt(environment: Mapping[str, str]) -> int:
    text = environment.get(contract.ATTEMPT_ENV) or "0"
    if not text.isdecimal():
        raise ConfigError(
            f"{contract.ATTEMPT_ENV} must be a whole number, got {text!r}",
            remedy="start the import through the operator, which counts attempts from 0",
        )
    return int(text)


def build_failure(error: Exception) -> Failure:
    """Return the cause, the finding and the way out."""
    if isinstance(error, OSError):
        error = StorageError.from_os_error(error, doing="importing")
    if isinstance(error, TrainerError):
        return Failure(cause=error.cause, message=str(error), remedy=error.remedy, phase=PodPhase.IMPORTING, rank=0)
    if isinstance(error, MemoryError):
        remedy = "raise spec.resources.memory of the Dataset"
        message = "the import ran out of memory"
        return Failure(cause=Cause.OUT_OF_MEMORY, message=message, remedy=remedy, phase=PodPhase.IMPORTING, rank=0)
    return Failure(
        cause=Cause.UNKNOWN,
        message=f"the import failed with {type(error).__name__}: {error}",
        remedy="this is a defect of Oarlock: report it with the log of the import",
        phase=PodPhase.IMPORTING,
        rank=0,
        detail="".join(traceback.format_exception(error))[-_DETAIL_CHARACTERS:],
    )


def _fail(record: RankRecord, progress: ImportProgress, failure: Failure) -> int:
    progress.note(failure.detail or f"{failure.cause}: {failure.message}")
    progress.note(f"remedy: {failure.remedy}")
    record.fail(failure)
    return EXIT_CODES[Cause(failure.cause)]


if __name__ == "__main__":
    sys.exit(main())
