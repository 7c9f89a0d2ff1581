"""Writes the report of a run: `python -m oarlock_trainer.reports FOLDER [--title NAME] [--output FILE]`.

FOLDER is the job's folder on the checkpoint volume. The report may be made at any time, while the run goes on or long after.
"""

import argparse
import sys
import time
from pathlib import Path

from oarlock_trainer.reports import REPORT_NAME
from oarlock_trainer.reports.writing import write_report


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m oarlock_trainer.reports", description="Write a run's report.")
    parser.add_argument("folder", type=Path, help="the job's folder on the checkpoint volume")
    parser.add_argument("--title", default="", help="name of the job")
    parser.add_argument("--output", type=Path, help=f"file to write; else {REPORT_NAME} in the folder")
    arguments = parser.parse_args()
    target = arguments.output or arguments.folder / REPORT_NAME
    try:
        write_report(arguments.folder, target, now=time.time(), title=arguments.title)
    except OSError as error:
        sys.stderr.write(f"the report cannot be written: {error}\n")
        return 1
    sys.stdout.write(f"{target}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
