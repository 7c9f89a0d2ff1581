"""The comparison of the kill tests notices what would make a resumed run another run, and only that."""

import shutil
from dataclasses import dataclass, replace
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
    run_directly,
)

pytestmark = [pytest.mark.train, pytest.mark.timeout(600)]

SABOTAGE = Path(__file__).parent / "sabotage"
KILLED_AT = STEPS // 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """An undisturbed run, and one that was killed halfway."""

    reference: Results
    killed: Job


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("controls")
    run = make_run(make_data(folder / "data"), model="mlp")
    whole, killed = (Job(folder=folder / name, data=folder / "data", run=run, processes=1) for name in ("a", "b"))
    assert run_directly(whole) == 0
    assert run_directly(killed, stop_at=KILLED_AT) == -9
    return Scene(reference=read_results(whole.run_dir), killed=killed)


def resume(scene: Scene, folder: Path, *, sabotage: str = "", seed: int = 0) -> list[str]:
    """Take up a copy of the killed run, and compare how it ends."""
    shutil.copytree(scene.killed.run_dir, folder / "run")
    run = scene.killed.run
    other_recipe = run.recipe.model_copy(update={"seed": seed})
    job = replace(scene.killed, folder=folder, run=run.model_copy(update={"recipe": other_recipe}))
    environment = {"PYTHONPATH": str(SABOTAGE), "OARLOCK_TEST_SABOTAGE": sabotage} if sabotage else {}
    assert run_directly(job, environment=environment) == 0, (folder / "output").read_text()
    output = (folder / "output").read_text()
    assert "from the checkpoint of step" in output
    assert ("sabotaged" in output) == bool(sabotage)
    results = read_results(job.run_dir)
    check_completeness(results)
    return find_differences(scene.reference, results)


def test_nothing_differs_when_nothing_is_sabotaged(scene: Scene, tmp_path: Path) -> None:
    assert resume(scene, tmp_path) == []


@pytest.mark.parametrize("sabotage", ["random states", "batch", "moments"])
def test_a_difference_is_found_when_something_is_not_restored(scene: Scene, tmp_path: Path, sabotage: str) -> None:
    differences = resume(scene, tmp_path, sabotage=sabotage)
    assert [finding.split(":")[0] for finding in differences] == [
        "steps",
        "validations",
        "exported weights",
        "last checkpoint",
    ]


def test_a_difference_is_found_when_the_seed_has_changed(scene: Scene, tmp_path: Path) -> None:
    assert any(finding.startswith("steps: ") for finding in resume(scene, tmp_path, seed=1))
