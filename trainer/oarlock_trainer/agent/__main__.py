"""`python -m oarlock_trainer.agent train`, `… import` or `… check`: process 1 of every pod.

One node of a training runs, with the variables of `oarlock_api.contract` as the only input,

    python -m torch.distributed.run --nnodes=1 --nproc-per-node=P --max-restarts=0 --standalone … -m oarlock_trainer

and one of several, node R of N,

    python -m torch.distributed.run --nnodes=N --nproc-per-node=P --max-restarts=0 --rdzv-backend=static --node-rank=R
        --master-addr=HOST --master-port=PORT --rdzv-id=UID-aATTEMPT --rdzv-conf=timeout=SECONDS … -m oarlock_trainer

(with `quick_imports.py` in the place of `-m`).
"""

import argparse
import os
import sys

from oarlock_trainer.agent.config import Mode
from oarlock_trainer.agent.pod import run_pod


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m oarlock_trainer.agent", description="Process 1 of an Oarlock pod.")
    parser.add_argument("mode", choices=[mode.value for mode in Mode], help="what the pod is for")
    return run_pod(Mode(parser.parse_args().mode), os.environ)


if __name__ == "__main__":
    sys.exit(main())
