"""The promise of a training service, tested: kill what you like, when you like; what comes out is the same, bit for bit.

Each chain trains with a real agent, torchrun and ranks, and kills one of them with SIGKILL at a random step, then again at a later
one, five times in all. A rank or torchrun is started again in the pod by the agent, a killed agent by the test, as the next
attempt. Two chains for each number of processes make ten kills; each model meets each kind of victim.
"""

import os
import random
import shutil
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest
from exactness.agent_runs import (
    STEPS,
    Attempt,
    Job,
    Results,
    check_completeness,
    find_differences,
    make_data,
    make_run,
    read_results,
)

from oarlock_api.contract import Outcome

pytestmark = [pytest.mark.train, pytest.mark.timeout(900)]

VICTIMS = ("rank", "torchrun", "agent")
MODELS = ("mlp", "lenet")
KILLS = 5
"""In one chain."""
MAX_RUNS = 5
"""A busy machine may look away while a run ends before its kill: then another run takes what is left of the chain."""
AT_ONCE = 2
"""Runs at the same time: most of a run is the start of processes, on one core each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kill:
    """What to kill, and when."""

    victim: str
    rank: int
    step: int

    def __str__(self) -> str:
        rank = f" {self.rank}" if self.victim == "rank" else ""
        return f"{self.victim}{rank} at step {self.step}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Chain:
    """What one run has to survive, in this order."""

    model: str
    processes: int
    kills: tuple[Kill, ...]

    def __str__(self) -> str:
        kills = ", ".join(str(kill) for kill in self.kills)
        return f"{self.model} in {self.processes} processes, killed: {kills}"


def choose_chains(processes: int, *, seed: int) -> list[Chain]:
    """Draw the chains: victims in turn, so that each comes up in each chain; ranks and steps at random."""
    dice = random.Random(f"{seed}/{processes}")
    chains = []
    for number, model in enumerate(MODELS):
        steps = sorted(dice.sample(range(1, STEPS - 20), KILLS))
        victims = [VICTIMS[(number + turn) % len(VICTIMS)] for turn in range(KILLS)]
        kills = [
            Kill(victim=victim, rank=dice.randrange(processes), step=step)
            for victim, step in zip(victims, steps, strict=True)
        ]
        chains.append(Chain(model=model, processes=processes, kills=tuple(kills)))
    return chains


@pytest.fixture(scope="module")
def seed() -> int:
    return int(os.environ.get("OARLOCK_TEST_SEED") or random.randrange(10**6))


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """A data set, and a folder for jobs that train on it."""

    folder: Path
    version: str

    def make_job(self, name: str, *, model: str, processes: int) -> Job:
        run = make_run(self.version, model=model)
        return Job(folder=self.folder / name, data=self.folder / "data", run=run, processes=processes)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("exactness")
    yield Scene(folder=folder, version=make_data(folder / "data"))
    shutil.rmtree(folder)


def train_undisturbed(job: Job) -> Results:
    attempt = job.start_agent()
    try:
        assert attempt.wait() == 0, attempt.read_output()
    finally:
        attempt.destroy()
    return read_complete_results(job)


def read_complete_results(job: Job) -> Results:
    results = read_results(job.run_dir)
    check_completeness(results)
    return results


def train_with_kills(job: Job, kills: Sequence[Kill]) -> int:
    """Train to the end, and see that nothing survives what must not; return how many kills have hit before the end."""
    left = kills
    while True:
        attempt = job.start_agent()
        try:
            dealt = deal(attempt, left)
            code = attempt.wait()
            assert attempt.wait_for_survivors() == []
        finally:
            attempt.destroy()
        if code == -signal.SIGKILL:
            left = left[dealt:]
            continue
        assert code == 0, attempt.read_output()
        record = attempt.read_record()
        assert record.outcome == Outcome.SUCCEEDED
        # All but the last have hit, or there would have been no retry for the next: that one may have come too late.
        assert dealt - record.retries in {0, min(dealt, 1)}, attempt.read_output()
        return len(kills) - len(left) + record.retries


def deal(attempt: Attempt, kills: Sequence[Kill]) -> int:
    """Deal the kills of one life of an agent, of which its own is the last; return how many that were."""
    for retry, kill in enumerate(kills):
        if not attempt.wait_for_step(kill.step, retry=retry):
            return retry
        attempt.kill(kill.victim, kill.rank, retry=retry)
        if kill.victim == "agent":
            return retry + 1
    return len(kills)


def play(scene: Scene, chain: Chain) -> list[Results]:
    """Return what came of the runs that it took until all kills have hit: mostly one."""
    found: list[Results] = []
    left = chain.kills
    while left:
        assert len(found) < MAX_RUNS, f"{len(found)} runs were over before {left}"
        name = f"{chain.processes}-{chain.model}-{len(found)}"
        job = scene.make_job(name, model=chain.model, processes=chain.processes)
        left = left[train_with_kills(job, left) :]
        found.append(read_complete_results(job))
    return found


@pytest.mark.parametrize("processes", [1, 2])
def test_losses_and_weights_are_bitwise_those_of_the_undisturbed_run_when_something_is_killed(
    scene: Scene, seed: int, processes: int
) -> None:
    chains = choose_chains(processes, seed=seed)
    assert {(chain.model, kill.victim) for chain in chains for kill in chain.kills} == set(product(MODELS, VICTIMS))
    jobs = [scene.make_job(f"{processes}-{model}", model=model, processes=processes) for model in MODELS]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        played = [pool.submit(play, scene, chain) for chain in chains]
        references = [pool.submit(train_undisturbed, job) for job in jobs]

    failures = [
        f"{chain}: {'; '.join(describe(reference, found))}"
        for chain, reference, found in zip(chains, references, played, strict=True)
        if describe(reference, found)
    ]
    # pytest shortens a list: what went wrong with a run is said in whole.
    assert failures == [], "\n".join((f"OARLOCK_TEST_SEED={seed} repeats these chains", *failures))


def describe(reference: Future[Results], played: Future[list[Results]]) -> list[str]:
    """Say what is wrong with a chain; nothing if nothing is."""
    if error := reference.exception() or played.exception():
        return [f"{type(error).__name__}: {error}"]
    return [finding for results in played.result() for finding in find_differences(reference.result(), results)]
