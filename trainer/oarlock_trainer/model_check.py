"""Whether a run's model takes its data set's samples: `python -m oarlock_trainer.model_check`, started by the agent in a pod without GPUs.

Models of libraries and of the user's own can be judged by running their code alone, which the operator cannot. What is asked of
them here is what training asks first, in the same words; nothing is trained, no weights are read and nothing is written.
"""

import os
import sys
import traceback

from oarlock_api.contract import EXIT_CODES, EXIT_SUCCESS, Cause, Outcome, PodPhase
from oarlock_trainer.quick_imports import without_collections
from oarlock_trainer.rank_record import RankRecord


def main() -> int:
    """Check, and return the exit code of the contract for how it went."""
    record = RankRecord.from_environment()
    try:
        # torch takes two seconds to import; the record shows signs of life before that.
        with without_collections():
            from oarlock_trainer.config import read_config
            from oarlock_trainer.preparation import check_model

        record.beat(PodPhase.LOADING)
        check_model(read_config(os.environ, cpus=os.cpu_count() or 1))
    except Exception as error:  # noqa: BLE001  # whatever it is, it is reported
        return _fail(record, error)
    record.beat(PodPhase.FINISHED)
    record.finish(Outcome.SUCCEEDED)
    return EXIT_SUCCESS


def _fail(record: RankRecord, error: Exception) -> int:
    from oarlock_trainer.failures import classify_failure

    failure = classify_failure(error, rank=0)
    record.fail(failure)
    traceback.print_exception(error)
    sys.stderr.write(f"{failure.cause}: {failure.message}\n{failure.remedy}\n")
    return EXIT_CODES[Cause(failure.cause)]


if __name__ == "__main__":
    sys.exit(main())
