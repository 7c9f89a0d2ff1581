"""Claims that stand for folders of the user's: from their manifests, or from `--claim NAME=FOLDER`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from oarlock.local.volumes import LOCAL_FOLDER_ANNOTATION
from oarlock.manifests.problems import ManifestsError, Problem
from oarlock.manifests.reading import Manifest
from oarlock.manifests.yaml_values import Document
from oarlock_api.findings import Finding

_PATH = f"metadata.annotations.{LOCAL_FOLDER_ANNOTATION}"


def settle_claims(manifests: Sequence[Manifest]) -> list[Manifest]:
    """Return the manifests with the folders that claims stand for as absolute paths.

    Raises:
        ManifestsError: names the folders that are not there.
    """
    settled = [_settle(manifest) for manifest in manifests]
    problems = [problem for manifest in settled for problem in _find_missing_folder(manifest)]
    if problems:
        raise ManifestsError(problems)
    return settled


def build_claims(options: Sequence[str]) -> list[Manifest]:
    """Return a claim for each `NAME=FOLDER`.

    Raises:
        ManifestsError: if an option has another form.
    """
    problems = [_wrong_form(option) for option in options if "=" not in option.strip("=")]
    if problems:
        raise ManifestsError(problems)
    return [_build_claim(*option.split("=", 1), option=option) for option in options]


def _build_claim(name: str, folder: str, *, option: str) -> Manifest:
    body: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": name,
            "namespace": "default",
            "annotations": {LOCAL_FOLDER_ANNOTATION: str(Path(folder).absolute())},
        },
        "spec": {"accessModes": ["ReadOnlyMany"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    return Manifest(
        kind="PersistentVolumeClaim",
        name=name,
        namespace="default",
        body=body,
        file=Path(f"--claim {option}"),
        document=Document(value=body, line=1),
    )


def _settle(manifest: Manifest) -> Manifest:
    folder = (manifest.body["metadata"].get("annotations") or {}).get(LOCAL_FOLDER_ANNOTATION)
    if manifest.kind != "PersistentVolumeClaim" or not folder:
        return manifest
    absolute = str((manifest.file.absolute().parent / Path(folder).expanduser()).resolve())
    metadata = manifest.body["metadata"]
    annotations = {**metadata["annotations"], LOCAL_FOLDER_ANNOTATION: absolute}
    return replace(manifest, body={**manifest.body, "metadata": {**metadata, "annotations": annotations}})


def _find_missing_folder(manifest: Manifest) -> Sequence[Problem]:
    folder = (manifest.body["metadata"].get("annotations") or {}).get(LOCAL_FOLDER_ANNOTATION)
    if manifest.kind != "PersistentVolumeClaim" or not folder or Path(folder).is_dir():
        return ()
    remedy = "make the folder first, as the comments of the manifests may say, or correct the path"
    finding = Finding(path=_PATH, rule="must name a folder that is there", found=folder, remedy=remedy)
    return (Problem(place=manifest.place_of(_PATH), finding=finding),)


def _wrong_form(option: str) -> Problem:
    finding = Finding(
        path="--claim", rule="must be NAME=FOLDER", found=repr(option), remedy="as in raw-images=./images"
    )
    return Problem(place=f"--claim {option}", finding=finding)
