"""How fast many jobs get their pods, and what that costs, next to Kubernetes' own Job controller in the same run.

    python bench/scale.py [--jobs 1000] [--rounds 2] [--full 1000] [--gate 2.0] [--node-from-start] [--json FILE]

Starts a real control plane without a scheduler, lifts the limits of its controller manager, and lets three bursts take turns:

- `Job`: Jobs of two pods, by the Job controller;
- `pair`: pairs of TrainingJobs of one pod each on a claim that is there: two pods' worth of objects and no Service;
- `full`: TrainingJobs of two nodes, with Service, claim and pods.

Each burst is created at once by 32 requests side by side; a group is done when a watch shows its last pod. Nobody runs the pods
meanwhile: afterwards a fake node binds them all and moves them through their phases, so that the requests of whole lives can be
counted (in the API server's audit log) and the operator's processor time and memory seen. At last the requests of a burst of pairs
are sent without an operator: what is left to win is the difference to that. The ratio is that of the times of pair
and Job; processor times stand apart, and are the better measure on a machine with other work.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]

from scaling.meters import AUDIT_POLICY  # noqa: E402
from scaling.report import print_report  # noqa: E402
from scaling.rounds import Bench, Result  # noqa: E402

from control_plane.components import APISERVER, CONTROLLER_MANAGER, ETCD  # noqa: E402
from control_plane.server import ControlPlane  # noqa: E402
from oarlock_api.crd import dataset_crd, training_job_crd  # noqa: E402

LIFTED = ("--kube-api-qps=5000", "--kube-api-burst=10000")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1000, help="Jobs, and pairs of TrainingJobs, in one burst")
    parser.add_argument(
        "--full", type=int, help="full TrainingJobs in one burst; 0: none; by default as many as --jobs"
    )
    parser.add_argument("--rounds", type=int, default=2, help="turns of Job and pair")
    parser.add_argument("--gate", type=float, help="fail if the ratio of the medians of p99 is higher")
    parser.add_argument(
        "--node-from-start", action="store_true", help="let the node run pods during the bursts already"
    )
    parser.add_argument("--idle-seconds", type=float, default=10.0)
    parser.add_argument("--patience", type=float, default=900.0, help="seconds after which waiting is given up")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    options.full = options.jobs if options.full is None else options.full
    load = os.getloadavg()
    result = measure(options)
    ratio = print_report(result, load=load)
    if options.json:
        options.json.write_text(json.dumps(result.to_json(), indent=1))
    return 1 if options.gate and ratio > options.gate else 0


def measure(options: argparse.Namespace) -> Result:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        policy = folder / "policy.json"
        policy.write_text(json.dumps(AUDIT_POLICY))
        audit = (f"--audit-policy-file={policy}", f"--audit-log-path={folder / 'audit.log'}")
        batch = ("--audit-log-mode=batch", "--audit-log-batch-max-wait=1s", "--audit-log-batch-buffer-size=100000")
        control_plane = ControlPlane(
            node_monitor_grace=3600,  # a fake node that is busy is not lost
            crds=(dataset_crd(), training_job_crd()),
            components=(ETCD, APISERVER, CONTROLLER_MANAGER),
            flags={APISERVER: (*audit, *batch), CONTROLLER_MANAGER: LIFTED},
        )
        with control_plane:
            return asyncio.run(Bench(control_plane, folder, options).run())


if __name__ == "__main__":
    sys.exit(main())
