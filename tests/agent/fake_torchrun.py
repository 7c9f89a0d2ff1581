"""Does what torchrun does to its ranks, without torch: `fake_torchrun.py SCENARIO --nproc-per-node=N …`. A script.

The scenario `program` runs the program that follows the options.

Like torchrun it starts each rank in a session of its own, sends SIGTERM to the others when one fails, and turns every exit
code into 1.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

_RANKS = Path(__file__).with_name("rank_scenarios.py")


def main() -> int:
    scenario, arguments = sys.argv[1], sys.argv[2:]
    options = dict(argument.removeprefix("--").partition("=")[::2] for argument in arguments)
    if scenario == "launcher_fails":
        sys.stderr.write("launcher: no such backend\n")
        return 1
    if scenario == "launcher_hangs":
        time.sleep(100)
    command = find_program(arguments) if scenario == "program" else [sys.executable, str(_RANKS), scenario]
    ranks = [start(command, rank, int(options["nproc-per-node"])) for rank in range(int(options["nproc-per-node"]))]
    while any(rank.poll() is None for rank in ranks):
        time.sleep(1)  # as --monitor-interval says
        if any(rank.poll() for rank in ranks):
            for rank in ranks:
                rank.terminate()
            for rank in ranks:
                rank.wait()
            return 1
    return 0


def find_program(arguments: list[str]) -> list[str]:
    first = next(at for at, word in enumerate(arguments) if not word.startswith("--") or word == "--no-python")
    return arguments[first + 1 :] if arguments[first] == "--no-python" else [sys.executable, *arguments[first:]]


def start(command: list[str], rank: int, world_size: int) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "LOCAL_RANK": str(rank), "RANK": str(rank), "WORLD_SIZE": str(world_size)}
    return subprocess.Popen(command, env=environment, start_new_session=True)


if __name__ == "__main__":
    sys.exit(main())
