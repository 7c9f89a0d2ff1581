"""What a dry run says of data that nobody has seen: it refuses only what no such data could make good."""

from pathlib import Path

import pytest

from oarlock.cli.dry_run import resolve_job
from oarlock.local.machine import Machine
from oarlock.manifests.problems import ManifestsError
from oarlock.manifests.reading import read_manifests

FOLDERS, TABLE = "folders: {}", "csv: {}"
FACTS = "apiVersion: oarlock.dev/v1alpha1\nkind: "


def dry_run(folder: Path, layout: str, image: str, recipe: str) -> None:
    source = "volume: {claim: raw}"
    file = folder / "all.yaml"
    file.write_text(
        f"{FACTS}Dataset\nmetadata: {{name: d}}\nspec: {{source: {{{source}}}, layout: {{{layout}}}, image: {image}}}\n---\n"
        f"{FACTS}TrainingJob\nmetadata: {{name: j}}\nspec: {{dataset: {{name: d}}, model: {{name: mlp}}, recipe: {recipe}}}\n"
    )
    dataset, job = read_manifests([file])
    resolve_job(job, dataset=dataset.body, machine=Machine(cpus=2, memory=2**32, gpus=()), nodes=None)


@pytest.mark.parametrize(
    ("layout", "image", "recipe"),
    [
        (FOLDERS, "{}", "{augment: {crop: 224}}"),
        (FOLDERS, "{width: 28}", "{augment: {quadRotation: all}}"),
        (FOLDERS, "{}", "{augment: {color: {}}}"),
        (TABLE, "{channels: rgb}", "{augment: {color: {}}}"),
    ],
)
def test_what_the_images_will_decide_is_not_refused_while_they_are_not_known(
    tmp_path: Path, layout: str, image: str, recipe: str
) -> None:
    dry_run(tmp_path, layout, image, recipe)


@pytest.mark.parametrize(
    ("layout", "image", "recipe", "says"),
    [
        (FOLDERS, "{width: 100, height: 300}", "{augment: {crop: 224}}", "augment.crop must fit into the images"),
        (FOLDERS, "{width: 100, height: 300}", "{augment: {quadRotation: all}}", "augment.quadRotation must be none"),
        (TABLE, "{}", "{augment: {color: {}}}", "augment.color must be left out for images that are not in colour"),
        (FOLDERS, "{channels: gray}", "{augment: {color: {}}}", "augment.color must be left out"),
    ],
)
def test_what_the_dataset_says_of_its_images_is_held_against_the_job(
    tmp_path: Path, layout: str, image: str, recipe: str, says: str
) -> None:
    with pytest.raises(ManifestsError, match=says):
        dry_run(tmp_path, layout, image, recipe)
