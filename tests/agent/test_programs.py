"""Programs of scripts below the agent: what they find, what is seen of them, and how their ends are told."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from agent.pods import Pod, make_environment

from oarlock_trainer.agent.config import Mode, read_config
from oarlock_trainer.agent.copying import copy_agent
from oarlock_trainer.agent.evidence import Evidence
from oarlock_trainer.agent.process_tree import ProcessEnd
from oarlock_trainer.agent.program import build_program
from oarlock_trainer.agent.tracebacks import find_exception
from oarlock_trainer.agent.verdict import decide_verdict

# A rank appends to the progress file and then waits for the file `go` beside its checkpoints.
_PATIENT = """
import json, os, pathlib, time
progress = pathlib.Path(os.environ["OARLOCK_PROGRESS_FILE"])
folder = pathlib.Path(os.environ["OARLOCK_CHECKPOINT_DIR"])
def tell(**facts):
    with progress.open("a") as file:
        file.write(json.dumps(facts) + "\\n")
def wait():
    while not (folder / "go").exists():
        time.sleep(0.02)
print("hello", flush=True)
"""


@pytest.fixture
def start_program(tmp_path: Path, start_pod: Callable[..., Pod]) -> Callable[..., Pod]:
    """Start an agent with a program as a ConfigMap would bring it."""

    def start(code: str, *arguments: str, **changes: str) -> Pod:
        folder = tmp_path / "code"
        folder.mkdir()
        (folder / "train.py").write_text(_PATIENT + code)
        run = json.dumps({"command": ["train.py", *arguments]})
        return start_pod("program", RUN=run, CODE_DIR=str(folder), SEED="3", **changes)

    return start


def let_go(pod: Pod, *, ranks: int) -> None:
    """Let the program go on once the agent has seen all of its ranks."""
    pod.wait_for(lambda status: len(status["ranks"]) == ranks)
    (Path(pod.environment["OARLOCK_RUN_DIR"]) / "program" / "go").touch()


def test_program_without_a_word_is_watched_from_outside_and_has_no_deadline(start_program: Callable[..., Pod]) -> None:
    pod = start_program(
        "import helper\nwait()\nprint(helper.__file__, os.environ['OARLOCK_SEED'])",
        PROGRESS_DEADLINE_SECONDS="1",
        ATTEMPT="0",
    )
    code = Path(pod.environment["OARLOCK_CODE_DIR"])
    (code / "helper.py").write_text("")  # before Python has started, as a rule; else the program fails, and the test
    status = pod.wait_for(lambda status: status["level"] == "L0" and "lastOutput" in status.get("activity", {}))
    since = status["activity"]["cpuSeconds"]
    later = pod.wait_for(lambda now: "cpuCores" in now["activity"])  # two seconds on: the deadline is over
    let_go(pod, ranks=2)

    assert (pod.wait(), pod.record().outcome) == (0, "Succeeded")
    assert later["activity"]["cpuSeconds"] >= since
    assert (status["phase"], status["steps"], status.get("etaSeconds"), len(status["ranks"])) == (
        "Training",
        0,
        None,
        2,
    )
    assert f"{code}/helper.py 3" in pod.read_output()
    assert pod.survivors() == []


def test_program_that_tells_its_steps_is_followed_and_found_hung(start_program: Callable[..., Pod]) -> None:
    pod = start_program(
        "tell(step=1, steps=10, loss=0.5, metrics={'generator/loss': 2.0})\n"
        "time.sleep(0.3)\n"
        "tell(step=2, loss=float('nan'))\ntell(step='x')\n"
        "time.sleep(1000)",
        PROGRESS_DEADLINE_SECONDS="4",
        PROCESSES_PER_NODE="1",
    )
    status = pod.wait_for(lambda status: status["step"] == 2 and status["warnings"])
    page = pod.read("/metrics")
    pod.wait()

    assert (status["level"], status["steps"], status["metrics"]) == ("L1", 10, {"generator/loss": 2.0})
    assert (status["nonFinite"], status["etaSeconds"] > 0) == (["train/loss"], True)
    assert "step must be a number" in status["warnings"][0]
    assert 'oarlock_trainer_program_metric{name="generator/loss"} 2.0' in page
    failure = pod.record().failure or {}
    assert (failure["cause"], failure["step"], pod.record().step) == ("Hung", 2, 2)
    log = (Path(pod.environment["OARLOCK_RUN_DIR"]) / "log.jsonl").read_text().splitlines()
    assert [(line["step"], line.get("train/loss")) for line in map(json.loads, log)] == [(1, 0.5), (2, None)]


def test_exception_of_a_program_is_a_user_error_with_its_traceback(start_program: Callable[..., Pod]) -> None:
    pod = start_program("wait()\nraise ValueError('three is not four')")
    let_go(pod, ranks=2)
    pod.wait()

    failure = pod.record().failure or {}
    assert (failure["cause"], pod.record().retries) == ("UserError", 0)
    assert "ended with exit code 1" in failure["message"]
    assert "It raised ValueError: three is not four" in failure["message"]
    assert "train.py" in failure["detail"]


def test_killed_program_starts_again_in_place_and_is_told_where_to_go_on(start_program: Callable[..., Pod]) -> None:
    pod = start_program(
        "again = os.environ.get('OARLOCK_RESUME_FROM')\n"
        "if again is None:\n"
        "    (folder / 'state').write_text('7')\n"
        "    wait()\n"
        "    os.kill(os.getpid(), 9)\n"
        "print('resumed with', (pathlib.Path(again) / 'state').read_text())",
        PROCESSES_PER_NODE="1",
        ATTEMPT="0",
    )
    let_go(pod, ranks=1)

    assert (pod.wait(), pod.record().retries) == (0, 1)
    assert "resumed with 7" in pod.read_output()


def test_program_that_is_asked_to_stop_is_suspended_whatever_its_exit_code(start_program: Callable[..., Pod]) -> None:
    pod = start_program("import signal, sys\nsignal.signal(15, lambda *_: sys.exit(70))\ntell(step=1)\nwait()")
    pod.wait_for(lambda status: status["level"] == "L1")
    pod.agent.send_signal(signal.SIGTERM)

    assert pod.wait() == 75
    assert pod.record().outcome == "Suspended"
    assert "OARLOCK_CHECKPOINT_DIR" in pod.record().warnings[-1]


def test_program_below_a_shell_has_its_grace_period_to_save(tmp_path: Path, start_pod: Callable[..., Pod]) -> None:
    program = tmp_path / "saves.py"
    program.write_text(
        _PATIENT + "import signal, sys\n"
        "def save(*_):\n"
        "    time.sleep(1.5)\n"  # longer than torchrun takes to see that the shell has ended, and to end
        "    (folder / 'saved').write_text('1')\n"
        "    sys.exit(0)\n"
        "signal.signal(15, save)\ntell(step=1)\nwait()"
    )
    shell = tmp_path / "run.sh"
    shell.write_text(f"#!/bin/sh\n{sys.executable} {program}\necho done\n")
    shell.chmod(0o755)
    pod = start_pod("program", RUN=json.dumps({"command": [str(shell)]}), PROCESSES_PER_NODE="1")
    pod.wait_for(lambda status: status["level"] == "L1")
    pod.agent.send_signal(signal.SIGTERM)

    assert (pod.wait(), pod.record().outcome) == (75, "Suspended")
    assert (Path(pod.environment["OARLOCK_RUN_DIR"]) / "program" / "saved").read_text() == "1"
    assert pod.survivors() == []


@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        (["train.py", "--lr", "1"], "/c", ["/c/train.py", "--lr", "1"]),
        (["/app/train.py"], "/c", ["/app/train.py"]),
        (["train.py"], None, ["train.py"]),
        (["-m", "package.train", "x"], "/c", ["-m", "package.train", "x"]),
        (["./run.sh"], None, ["--no-python", "./run.sh"]),
    ],
)
def test_torchrun_is_told_what_kind_of_program_it_runs(
    command: list[str], code: str | None, told: list[str], tmp_path: Path
) -> None:
    changes = {"RUN": json.dumps({"command": command}), **({"CODE_DIR": code} if code else {})}
    environment = make_environment(tmp_path, **changes)
    del environment["OARLOCK_DATA_DIR"]

    assert build_program(read_config(Mode.TRAIN, environment)) == told


def test_copied_agent_runs_in_an_image_that_has_nothing_but_python(tmp_path: Path) -> None:
    copy_agent(tmp_path)

    bare = [sys.executable, "-I", "-S", str(tmp_path)]
    ended = subprocess.run([*bare, "train"], env={}, capture_output=True, text=True, check=False)

    assert ended.returncode == 78  # it has no variables, and says so
    assert "OARLOCK_RUN must be set" in ended.stderr


def test_exception_of_torchrun_is_not_taken_for_that_of_the_program() -> None:
    lines = [
        "Traceback (most recent call last):",
        '  File "train.py", line 3, in <module>',
        "package.OwnError: no",
        "Traceback (most recent call last):",
        '  File "torchrun.py", line 1',
        "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: ",
        "epoch 3",
    ]

    raised = find_exception(lines)

    assert raised is not None
    assert (raised.summary, raised.traceback) == ("package.OwnError: no", "\n".join(lines[:3]))
    assert find_exception(["Error: nothing was raised", "fine"]) is None


@pytest.mark.parametrize(("code", "cause", "signal_number"), [(2, "UserError", None), (-9, "ProcessKilled", 9)])
def test_rank_that_is_gone_before_it_is_seen_is_told_of_by_torchrun(code: int, cause: str, signal_number: int) -> None:
    evidence = Evidence(
        program="torchrun",
        node=1,
        nodes=2,
        processes=2,
        launcher_end=ProcessEnd(code=1, at=1.0),
        last_lines=[
            "train.py: error: the following arguments are required: --lr",
            "  rank      : 3 (local_rank: 1)",
            f"  exitcode  : {code} (pid: 4711)",
        ],
        is_script=True,
    )

    failure = decide_verdict(evidence).failure

    assert failure is not None
    assert (failure.cause, failure.rank, failure.signal) == (cause, 3, signal_number)
    assert "--lr" in failure.detail
    if signal_number:
        out_of_memory = decide_verdict(replace(evidence, oom_kills=1)).failure
        assert out_of_memory is not None
        assert (out_of_memory.cause, "recipe" in out_of_memory.remedy) == ("OutOfMemory", False)
