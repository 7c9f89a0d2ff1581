"""Who holds up the others: judged by the kernel's word and by the stack. Pure, but for the stacks, which are real."""

import faulthandler
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oarlock_api.contract import PodPhase, Standing
from oarlock_trainer.agent import procfs
from oarlock_trainer.agent.deadlines import ProgressWatch
from oarlock_trainer.agent.standing import ORDER, judge, read_main_thread
from oarlock_trainer.stacks import STACK_SIGNAL

_SITE = "/opt/venv/lib/python3.12/site-packages"
_LIBRARY = "/usr/local/lib/python3.12"


def make_dump(*frames: str) -> str:
    calls = "\n".join(f'  File "{file}", line 7 in call' for file in frames)
    return (
        "Thread 0x00007f1 (most recent call first):\n"
        f'  File "{_LIBRARY}/threading.py", line 982 in run\n\n'
        f"Current thread 0x00007f2 (most recent call first):\n{calls}\n"
    )


@pytest.mark.parametrize(
    ("frames", "standing"),
    [
        ([f"{_SITE}/torch/distributed/distributed_c10d.py", "/code/train.py"], Standing.WAITS_FOR_RANKS),
        ([f"{_SITE}/torch/autograd/graph.py", f"{_SITE}/oarlock_trainer/learner.py"], Standing.WAITS_FOR_RANKS),
        ([f"{_SITE}/oarlock_trainer/agreement.py"], Standing.WAITS_FOR_RANKS),
        ([f"{_SITE}/oarlock_trainer/checkpoints/agreement.py"], Standing.WAITS_FOR_RANKS),
        (
            [f"{_LIBRARY}/selectors.py", f"{_LIBRARY}/multiprocessing/connection.py", f"{_SITE}/torch/utils/data/dataloader.py"],
            Standing.WAITS_FOR_DATA,
        ),
        ([f"{_SITE}/oarlock_trainer/datasets/shards.py", f"{_SITE}/oarlock_trainer/loop.py"], Standing.WAITS_FOR_DATA),
        (["/code/model.py", f"{_SITE}/torch/nn/modules/module.py"], Standing.BUSY),
        ([f"{_SITE}/torch/nn/modules/conv.py", "/code/model.py", f"{_SITE}/torch/nn/parallel/distributed.py"], Standing.BUSY),
        ([f"{_SITE}/torch/distributed/checkpoint/filesystem.py", "/code/train.py"], Standing.BUSY),
        ([f"{_SITE}/torch/cuda/streams.py", f"{_SITE}/oarlock_trainer/step_statistics.py"], Standing.UNKNOWN),
        ([f"{_SITE}/oarlock_trainer/checkpoints/durability.py"], Standing.UNKNOWN),
        ([f"{_LIBRARY}/threading.py"], Standing.UNKNOWN),
    ],
)  # fmt: skip
def test_standing_follows_from_the_innermost_calls(frames: list[str], standing: Standing) -> None:
    assert judge(state="S", children=(), dump=make_dump(*frames)).standing is standing


@pytest.mark.parametrize(
    ("state", "children", "standing"),
    [
        ("T", "", Standing.STOPPED),
        ("t", "T", Standing.STOPPED),
        ("S", "ST", Standing.CHILD_STOPPED),
        ("D", "", Standing.WAITS_FOR_DISK),
    ],
)
def test_word_of_the_kernel_weighs_more_than_the_stack(state: str, children: str, standing: Standing) -> None:
    dump = make_dump(f"{_SITE}/torch/distributed/distributed_c10d.py")

    assert judge(state=state, children=list(children), dump=dump).standing is standing


@given(dump=st.text(), state=st.sampled_from("RSDTtZX"))
def test_some_standing_is_found_whatever_was_dumped(dump: str, state: str) -> None:
    assert judge(state=state, children=(), dump=dump).standing in ORDER


def test_main_thread_is_read_from_a_real_dump(tmp_path: Path) -> None:
    waiting = threading.Event()
    threading.Thread(target=waiting.wait, daemon=True).start()
    with (tmp_path / "dump").open("w+") as file:
        faulthandler.dump_traceback(file=file, all_threads=True)
        file.seek(0)
        frames = read_main_thread(file.read())
    waiting.set()

    assert (frames[0].name, Path(frames[0].file).name) == (
        "test_main_thread_is_read_from_a_real_dump",
        Path(__file__).name,
    )


def test_only_a_process_with_a_handler_is_asked() -> None:
    register = "import faulthandler, signal, time; faulthandler.register(signal.SIGRTMIN + 5); print(flush=True); time.sleep(99)"
    with (
        subprocess.Popen([sys.executable, "-c", register], stdout=subprocess.PIPE) as willing,
        subprocess.Popen(["sleep", "99"]) as deaf,
    ):
        assert willing.stdout is not None
        willing.stdout.readline()
        answers = [procfs.catches_signal(process.pid, STACK_SIGNAL) for process in (willing, deaf)]
        willing.kill()
        deaf.kill()

    assert answers == [True, False]


def test_children_are_found_whether_the_kernel_lists_them_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["sleep", "99"]) as child:
        listed = procfs.list_children(os.getpid())
        monkeypatch.setattr(os, "listdir", _refuse_tasks(os.listdir))
        scanned = procfs.list_children(os.getpid())
        child.kill()

    assert child.pid in listed
    assert child.pid in scanned


def _refuse_tasks(listdir: Callable[..., list[str]]) -> Callable[..., list[str]]:
    def refuse(path: Path) -> list[str]:
        if Path(path).name == "task":
            raise FileNotFoundError
        return listdir(path)

    return refuse


def test_silence_is_worth_a_word_when_it_is_longer_than_phase_and_past_let_expect() -> None:
    watch, phases = ProgressWatch(deadline=600), {0: PodPhase.TRAINING, 1: PodPhase.COMPILING, 2: PodPhase.TRAINING}
    for beat in range(4):  # rank 2 takes 10 s a step
        watch.observe({0: 40 + beat, 1: 0, 2: 70 + beat}, phases=phases, now=10.0 * beat)

    assert watch.find_stalled(phases, now=49) == []
    assert watch.find_stalled(phases, stopped=frozenset({1}), now=49) == [1]
    assert watch.find_stalled(phases, now=61) == [0, 2]
    assert watch.find_stalled(phases, now=310) == [0, 1, 2]


def test_slow_start_does_not_delay_the_word_on_steps() -> None:
    watch = ProgressWatch(deadline=600)
    watch.observe({0: 0}, phases={0: PodPhase.COMPILING}, now=0)
    watch.observe({0: 1}, phases={0: PodPhase.TRAINING}, now=200)

    assert watch.find_stalled({0: PodPhase.TRAINING}, now=221) == [0]


@given(gaps=st.lists(st.floats(0.01, 19), min_size=1, max_size=20))
def test_no_word_on_ranks_that_beat(gaps: list[float]) -> None:
    watch, now = ProgressWatch(deadline=600), time.monotonic()
    for counter, gap in enumerate(gaps):
        watch.observe({0: counter}, phases={0: PodPhase.TRAINING}, now=now)
        assert watch.find_stalled({0: PodPhase.TRAINING}, now=now + gap) == []
        now += gap
