"""The comparison of the kill tests notices what would make a resumed run another run, and only that."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from exactness.agent_runs import (
    STEPS,
    Results,
    check_completeness,
    find_differences,
    make_data,
    make_run,
    read_results,
)
from exactness.sabotage import describe_run, train_sabotaged, train_until_killed
from training.forked_ranks import RankFailedError, run_ranks
from training.small_runs import read_log

from oarlock_api.contract import Outcome
from oarlock_api.run import WorkerRun

pytestmark = [pytest.mark.train, pytest.mark.timeout(600)]

KILLED_AT = STEPS // 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """An undisturbed run, and one that was killed halfway."""

    data: Path
    run: WorkerRun
    killed: Path
    """Its run folder."""
    reference: Results


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("controls")
    data, whole, killed = folder / "data", folder / "whole", folder / "killed"
    run = make_run(make_data(data), model="mlp")
    train(run, data, whole)
    with pytest.raises(RankFailedError, match="without an answer"):
        run_ranks(1, train_until_killed, describe(run, data, killed), KILLED_AT)
    return Scene(data=data, run=run, killed=killed, reference=read_complete_results(whole))


def describe(run: WorkerRun, data: Path, run_dir: Path) -> dict[str, str]:
    return describe_run(json.dumps(run.to_wire()), data=data, run_dir=run_dir)


def train(run: WorkerRun, data: Path, run_dir: Path, *, sabotage: str = "nothing") -> None:
    assert run_ranks(1, train_sabotaged, describe(run, data, run_dir), sabotage) == [Outcome.SUCCEEDED]


def read_complete_results(run_dir: Path) -> Results:
    results = read_results(run_dir)
    check_completeness(results)
    return results


def resume(scene: Scene, run_dir: Path, *, sabotage: str = "nothing", seed: int = 0) -> list[str]:
    """Take up a copy of the killed run, and compare how it ends."""
    shutil.copytree(scene.killed, run_dir)
    assert 0 < len(read_log(run_dir, "step")) <= KILLED_AT
    recipe = scene.run.recipe.model_copy(update={"seed": seed})
    train(scene.run.model_copy(update={"recipe": recipe}), scene.data, run_dir, sabotage=sabotage)
    first, second = read_log(run_dir, "start")
    assert "from the checkpoint of step" not in first["message"]
    assert "from the checkpoint of step" in second["message"]
    return find_differences(scene.reference, read_complete_results(run_dir))


def test_nothing_differs_when_nothing_is_sabotaged(scene: Scene, tmp_path: Path) -> None:
    assert resume(scene, tmp_path / "run") == []


@pytest.mark.parametrize("sabotage", ["random states", "batch", "moments"])
def test_a_difference_is_found_when_something_is_not_restored(scene: Scene, tmp_path: Path, sabotage: str) -> None:
    differences = resume(scene, tmp_path / "run", sabotage=sabotage)
    assert [finding.split(":")[0] for finding in differences] == [
        "steps",
        "validations",
        "exported weights",
        "last checkpoint",
    ]


def test_a_difference_is_found_when_the_average_is_not_restored(scene: Scene, tmp_path: Path) -> None:
    """The steps themselves know nothing of it."""
    differences = resume(scene, tmp_path / "run", sabotage="average")
    assert [finding.split(":")[0] for finding in differences] == ["validations", "exported weights", "last checkpoint"]


def test_a_difference_is_found_when_the_seed_has_changed(scene: Scene, tmp_path: Path) -> None:
    assert any(finding.startswith("steps: ") for finding in resume(scene, tmp_path / "run", seed=1))
