"""The promise of a training service, tested: kill what you like, when you like; what comes out is the same, bit for bit.

Each round trains with a real agent, torchrun and ranks, and kills one of them with SIGKILL at a random step. A rank or torchrun
is started again in the pod by the agent, a killed agent by the test, as the next attempt.
"""

import os
import random
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from exactness.agent_runs import (
    STEPS,
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

ROUNDS = 10
VICTIMS = ("rank", "torchrun", "agent")
MODELS = ("mlp", "lenet")
AT_ONCE = 2
"""Rounds that run at the same time: most of a round is the start of processes, on one core each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """What to kill, and when."""

    number: int
    model: str
    victim: str
    rank: int
    step: int

    def __str__(self) -> str:
        rank = f" {self.rank}" if self.victim == "rank" else ""
        return f"round {self.number}: {self.model}, {self.victim}{rank} killed at step {self.step}"


def choose_rounds(processes: int, *, seed: int) -> list[Round]:
    """Draw the rounds: models and victims in turn, so that each pair comes up; rank and step at random."""
    dice = random.Random(f"{seed}/{processes}")
    return [
        Round(
            number=number,
            model=MODELS[number % len(MODELS)],
            victim=VICTIMS[number % len(VICTIMS)],
            rank=dice.randrange(processes),
            step=dice.randint(1, STEPS - 20),
        )
        for number in range(ROUNDS)
    ]


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
    results = read_results(job.run_dir)
    check_completeness(results)
    return results


def train_with_a_kill(job: Job, plan: Round) -> Results:
    """Kill once, see that the kill hit and that nothing survived what must not, and train to the end."""
    attempt = job.start_agent()
    try:
        assert attempt.wait_for_step(plan.step), f"the run ended before step {plan.step}:\n{attempt.read_output()}"
        attempt.find_victim(plan.victim, plan.rank).kill()
        code = attempt.wait()
        assert attempt.wait_for_survivors() == []
        if plan.victim == "agent":
            assert code == -9, "the agent was done before it was killed"
            return train_undisturbed(job)
        assert code == 0, attempt.read_output()
        record = attempt.read_record()
        assert (record.outcome, record.retries) == (Outcome.SUCCEEDED, 1)
    finally:
        attempt.destroy()
    return read_results(job.run_dir)


def describe_round(scene: Scene, plan: Round, references: dict[str, Results], *, processes: int) -> str:
    """Play a round and say what is wrong; nothing if nothing is."""
    job = scene.make_job(f"{processes}-{plan.number}", model=plan.model, processes=processes)
    try:
        results = train_with_a_kill(job, plan)
        check_completeness(results)
        differences = find_differences(references[plan.model], results)
    except AssertionError as error:
        differences = [str(error)]
    return f"{plan}: {'; '.join(differences)}" if differences else ""


@pytest.mark.parametrize("processes", [1, 2])
def test_losses_and_weights_are_bitwise_those_of_the_undisturbed_run_when_something_is_killed(
    scene: Scene, seed: int, processes: int
) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        jobs = [scene.make_job(f"{processes}-{model}", model=model, processes=processes) for model in MODELS]
        references = dict(zip(MODELS, pool.map(train_undisturbed, jobs), strict=True))
        found = pool.map(
            lambda plan: describe_round(scene, plan, references, processes=processes),
            choose_rounds(processes, seed=seed),
        )
        failures = [finding for finding in found if finding]

    assert failures == [], f"OARLOCK_TEST_SEED={seed} repeats these rounds"
