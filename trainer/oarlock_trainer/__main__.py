"""One training process. The operator's pods start it through the agent; by hand it is started by torchrun.

One process:

    python -m oarlock_trainer

P processes on one machine (one for each GPU, if the run wants GPUs):

    torchrun --standalone --nproc-per-node=P -m oarlock_trainer

P processes on each of N machines, the same line on each with its own R from 0 to N-1:

    torchrun --nnodes=N --nproc-per-node=P --node-rank=R --master-addr=HOST_0 --master-port=29400 -m oarlock_trainer

OARLOCK_RUN (the run as JSON: `oarlock_api.run.WorkerRun`), OARLOCK_DATA_DIR (the folder with `dataset.json`) and
OARLOCK_RUN_DIR (where checkpoints, log and model go) must be set; `oarlock_api.contract` lists the rest. Started again with the
same variables, a run goes on from its last checkpoint. The exit code says how it went, by `EXIT_CODES` of the contract.
"""

import os
import sys
import traceback

from oarlock_api.contract import EXIT_CODES, EXIT_SUCCESS, EXIT_SUSPENDED, Cause, Outcome
from oarlock_trainer.process_death import die_with_parent
from oarlock_trainer.quick_imports import without_collections
from oarlock_trainer.rank_record import RankRecord
from oarlock_trainer.signals import watch_for_stop


def main() -> int:
    if "LOCAL_RANK" in os.environ:
        die_with_parent()
    record = RankRecord.from_environment()
    with watch_for_stop() as stop:
        try:
            # torch takes two seconds to import; the record shows signs of life before that.
            with without_collections():
                from oarlock_trainer.config import read_config
                from oarlock_trainer.loop import train

            outcome = train(read_config(os.environ, cpus=os.cpu_count() or 1), record, stop)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is reported
            return _fail(record, error)
    record.finish(outcome)
    return EXIT_SUSPENDED if outcome is Outcome.SUSPENDED else EXIT_SUCCESS


def _fail(record: RankRecord, error: Exception) -> int:
    from oarlock_trainer.failures import classify_failure

    failure = classify_failure(error, rank=int(os.environ.get("RANK", "0")))
    record.fail(failure)
    traceback.print_exception(error)
    sys.stderr.write(f"failed, {failure.cause}: {failure.message}\n{failure.remedy}\n")
    return EXIT_CODES[Cause(failure.cause)]


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: threads of a broken process group, or of a save on a hanging volume, would keep the process alive.
    os._exit(code)
