"""Files of the user's own in manifests: ConfigMaps as they are, and those that a kustomization.yaml makes of files beside it.

The same folder then serves `oarlock run FOLDER` here and `kubectl apply -k FOLDER` on a cluster. Of a kustomization only
`configMapGenerator` is read, since the manifests beside it are read anyway; what would change them is refused.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from oarlock_api.findings import Finding

CONFIG_MAP, KUSTOMIZATION = "ConfigMap", "Kustomization"
_KUSTOMIZE_VERSION = "kustomize.config.k8s.io/v1beta1"
_KUSTOMIZE_FILES = frozenset({"kustomization.yaml", "kustomization.yml"})
_READ = frozenset({"apiVersion", "kind", "metadata", "resources", "configMapGenerator", "generatorOptions"})
_GENERATOR = frozenset({"name", "namespace", "files", "options"})
_MAX_BYTES = 1024 * 1024
"""What a ConfigMap may hold."""

Object = dict[str, Any]


class WrongFilesError(Exception):
    """A ConfigMap, or what is to become one, that cannot be used."""

    def __init__(self, *findings: Finding) -> None:
        super().__init__("; ".join(map(str, findings)))
        self.findings = findings


def is_of_files(value: Any, file: Path) -> bool:
    """Say whether a document is read here: Kustomize knows its own by the name of the file, and what it is then needs no word."""
    if not isinstance(value, Mapping):
        return False
    kinds = (CONFIG_MAP, KUSTOMIZATION, *((None,) if file.name in _KUSTOMIZE_FILES else ()))
    return value.get("kind") in kinds


def read_config_maps(value: Mapping[str, Any], *, folder: Path) -> list[Object]:
    """Return the ConfigMaps that a document is or makes, files being looked for in `folder`.

    Raises:
        WrongFilesError: with everything that is wrong.
    """
    if value.get("kind") == CONFIG_MAP:
        findings = tuple(_find_in_config_map(value))
        if findings:
            raise WrongFilesError(*findings)
        return [_build(value["metadata"]["name"], value["metadata"].get("namespace"), value.get("data") or {})]
    findings = tuple(_find_in_kustomization(value))
    if findings:
        raise WrongFilesError(*findings)
    return [_generate(generator, folder) for generator in value.get("configMapGenerator") or ()]


def _build(name: str, namespace: str | None, data: Mapping[str, str]) -> Object:
    metadata = {"name": name, "namespace": namespace or "default"}
    return {"apiVersion": "v1", "kind": CONFIG_MAP, "metadata": metadata, "spec": {}, "data": dict(data)}


def _generate(generator: Mapping[str, Any], folder: Path) -> Object:
    files = {}
    for entry in generator["files"]:
        key, _, path = entry.rpartition("=")
        try:
            files[key or Path(path).name] = (folder / path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            finding = Finding(
                path="configMapGenerator",
                rule="must name files of text that are there",
                found=f"{path}: {error}",
                remedy="correct the path: it is relative to the kustomization",
            )
            raise WrongFilesError(finding) from error
    if sum(len(text.encode()) for text in files.values()) > _MAX_BYTES:
        finding = Finding(
            path="configMapGenerator", rule=f"must make at most {_MAX_BYTES} bytes", remedy="use an image"
        )
        raise WrongFilesError(finding)
    return _build(generator["name"], generator.get("namespace"), files)


def _find_in_config_map(value: Mapping[str, Any]) -> Iterator[Finding]:
    metadata, data = value.get("metadata"), value.get("data") or {}
    if value.get("apiVersion") != "v1":
        yield Finding(path="apiVersion", rule="must be v1 for a ConfigMap", found=repr(value.get("apiVersion")))
    if not isinstance(metadata, Mapping) or not isinstance(metadata.get("name"), str):
        yield Finding(path="metadata.name", rule="must be a text", remedy="give one")
    if not isinstance(data, Mapping) or not all(isinstance(text, str) for text in data.values()):
        yield Finding(
            path="data", rule="must be texts by file name", remedy="write `train.py: |` and the text below it"
        )
    elif sum(len(text.encode()) for text in data.values()) > _MAX_BYTES:
        yield Finding(path="data", rule=f"must have at most {_MAX_BYTES} bytes", remedy="use an image")


def _find_in_kustomization(value: Mapping[str, Any]) -> Iterator[Finding]:
    if value.get("apiVersion") not in (None, _KUSTOMIZE_VERSION):
        yield Finding(path="apiVersion", rule=f"must be {_KUSTOMIZE_VERSION}", found=repr(value.get("apiVersion")))
    for key in sorted(value.keys() - _READ):
        yield Finding(path=key, rule="is not read on one machine", remedy="leave it to an overlay of its own")
    generators = value.get("configMapGenerator") or []
    options = value.get("generatorOptions") or {}
    if generators and not (isinstance(options, Mapping) and options.get("disableNameSuffixHash") is True):
        yield Finding(
            path="generatorOptions.disableNameSuffixHash",
            rule="must be true: spec.code.configMap names the ConfigMap as it is",
            remedy="add it",
        )
    for index, generator in enumerate(generators if isinstance(generators, list) else [generators]):
        yield from _find_in_generator(f"configMapGenerator[{index}]", generator)


def _find_in_generator(path: str, generator: Any) -> Iterator[Finding]:
    if not isinstance(generator, Mapping) or not isinstance(generator.get("name"), str):
        yield Finding(path=f"{path}.name", rule="must be a text", remedy="give one")
        return
    for key in sorted(generator.keys() - _GENERATOR):
        yield Finding(path=f"{path}.{key}", rule="is not read on one machine", remedy="use files")
    files = generator.get("files")
    if not isinstance(files, list) or not files or not all(isinstance(entry, str) for entry in files):
        yield Finding(path=f"{path}.files", rule="must be a list of files", remedy="name some: files: [train.py]")
