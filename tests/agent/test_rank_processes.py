import os
import selectors
import signal
import subprocess
import sys
import time

import pytest

from oarlock_trainer.agent.rank_processes import RankProcesses

_LAUNCHER = (
    "import os, subprocess, sys, time\n"
    "for rank in range(2):\n"
    "    subprocess.Popen(['sleep', '1000'], env={**os.environ, 'LOCAL_RANK': str(rank)})\n"
    "subprocess.Popen(['sleep', '1000'])\n"
    "print('started', flush=True)\n"
    "time.sleep(1000)\n"
)


@pytest.fixture(params=["pidfd", "no pidfd"])
def selector(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> selectors.BaseSelector:
    def refuse(_pid: int) -> int:
        raise PermissionError

    if request.param == "no pidfd":  # an old kernel, or a strict seccomp profile
        monkeypatch.setattr(os, "pidfd_open", refuse)
    return selectors.DefaultSelector()


def test_end_of_a_rank_is_known_when_its_parent_has_not_reaped_it_yet(selector: selectors.BaseSelector) -> None:
    with subprocess.Popen([sys.executable, "-c", _LAUNCHER], stdout=subprocess.PIPE) as launcher:
        assert launcher.stdout is not None
        launcher.stdout.readline()
        ranks = RankProcesses(expected=2, selector=selector)
        ranks.discover(launcher.pid)
        assert sorted(ranks.alive) == [0, 1]

        ranks.signal(signal.SIGUSR1, local_ranks={1})
        deadline = time.monotonic() + 60
        while 1 in ranks.alive and time.monotonic() < deadline:
            selector.select(0.05)
            ranks.collect_ends()
        ranks.signal(signal.SIGKILL)
        launcher.kill()
        ranks.close()

    assert ranks.ends[1].signal == signal.SIGUSR1
    assert abs(ranks.ends[1].at - time.time()) < 5
    assert 0 in ranks.pids
