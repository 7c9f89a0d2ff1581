"""From files to manifests: finds them, reads them, checks them, and says everything that is wrong at once, by file and line."""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from oarlock.manifests.config_maps import WrongFilesError, is_of_files, read_config_maps
from oarlock.manifests.fitting import Body, find_misfits, survey
from oarlock.manifests.overrides import Override, OverrideError, override
from oarlock.manifests.problems import ManifestsError, Problem
from oarlock.manifests.yaml_values import Document, parse_documents
from oarlock_api.findings import Finding
from oarlock_api.v1alpha1 import GROUP, VERSION
from oarlock_api.validation import validate_dataset, validate_training_job

API_VERSIONS = {
    "Dataset": f"{GROUP}/{VERSION}",
    "TrainingJob": f"{GROUP}/{VERSION}",
    "PersistentVolumeClaim": "v1",
}
"""The kinds that run on one machine; a claim may stand for a folder."""

_SUFFIXES = frozenset({".yaml", ".yml", ".json"})
_FIELDS = ("apiVersion", "kind", "metadata", "spec")
_METADATA = ("name", "namespace", "labels", "annotations")
_FROM_SERVER = frozenset(
    {
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "managedFields",
        "ownerReferences",
        "finalizers",
        "status",
    }
)
"""What `kubectl get -o yaml` adds to a manifest: dropped."""
_MAX_SHOWN = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """One object to apply."""

    kind: str
    name: str
    namespace: str
    body: dict[str, Any]
    """The manifest, with its namespace."""
    file: Path
    document: Document
    overrides: tuple[Override, ...] = field(default=())

    @property
    def key(self) -> tuple[str, str, str]:
        return self.kind, self.namespace, self.name

    def place_of(self, path: str) -> str:
        """Return where a path of the manifest was written: in the file, or on the command line."""
        for change in reversed(self.overrides):
            if path == change.path or path.startswith((f"{change.path}.", f"{change.path}[")):
                return f"--set {change.text}"
            # What is above a value of the command line came with it, unless the file has it.
            if change.path.startswith((f"{path}.", f"{path}[")) and path not in self.document.lines:
                return f"--set {change.text}"
        return f"{self.file}:{self.document.line_of(path)}"


def find_files(paths: Iterable[Path]) -> list[Path]:
    """Return the manifest files that the paths mean, each once: files as they are, folders with the YAML and JSON files in them.

    A folder without such files means those in the folders below it.

    Raises:
        ManifestsError: names every path that is not there or holds none.
    """
    files: list[Path] = []
    problems: list[Problem] = []
    for path in paths:
        if path.is_dir():
            found = _list_manifests(path)
            files += found
            if not found:
                problems.append(_at_file(path, "must hold .yaml, .yml or .json files", remedy="name another folder"))
        elif path.is_file():
            files.append(path)
        else:
            problems.append(_at_file(path, "must be there", remedy="check the path"))
    if problems:
        raise ManifestsError(problems)
    return list({file.resolve(): file for file in reversed(files)}.values())[::-1]


def _list_manifests(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES and path.is_file())
    return found or sorted(
        path for path in folder.rglob("*") if path.suffix in _SUFFIXES - {".json"} and path.is_file()
    )


def read_manifests(
    paths: Iterable[Path],
    *,
    overrides: Sequence[Override] = (),
    texts: Mapping[Path, str] | None = None,
    known: Iterable[Body] = (),
) -> list[Manifest]:
    """Read and check all manifests in files and folders.

    Args:
        paths: files and folders.
        overrides: values of the command line, put in before anything is checked.
        texts: contents of files that are not saved yet.
        known: objects that are there already.

    Raises:
        ManifestsError: with everything that is wrong, by file and line.
    """
    manifests: list[Manifest] = []
    problems: list[Problem] = []
    texts = texts or {}
    for file in find_files(path for path in paths if path not in texts):
        read, wrong = _read_file(file)
        manifests += read
        problems += wrong
    for file, text in texts.items():
        read, wrong = _read_text(file, text)
        manifests += read
        problems += wrong
    changed, wrong = _override_all(manifests, overrides)
    problems += wrong
    by_manifest = [(manifest, list(_find_problems(manifest))) for manifest in changed]
    problems += [problem for _, found in by_manifest for problem in found]
    problems += _find_misfits([manifest for manifest, found in by_manifest if not found], known)
    problems += _find_doubles(changed)
    if problems:
        raise ManifestsError(problems)
    return changed


def _read_file(file: Path) -> tuple[list[Manifest], list[Problem]]:
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        return [], [_at_file(file, "must be UTF-8 text", found=f"byte {error.start}", remedy="save it as UTF-8")]
    except OSError as error:
        return [], [_at_file(file, "must be readable", found=error.strerror or "", remedy="check its permissions")]
    return _read_text(file, text)


def _read_text(file: Path, text: str) -> tuple[list[Manifest], list[Problem]]:
    documents = list(parse_documents(text))
    if not documents:
        return [], [_at_file(file, "must hold a manifest", remedy="write one, or remove the file")]
    manifests: list[Manifest] = []
    problems: list[Problem] = []
    for document in documents:
        if not document.findings and is_of_files(document.value, file):
            read, wrong = _read_files(file, document)
            manifests += read
            problems += wrong
            continue
        findings = document.findings or list(_find_wrong_envelope(document.value))
        problems += [_at(file, document, finding) for finding in findings]
        if not findings:
            manifests.append(_build_manifest(file, document))
    return manifests, problems


def _read_files(file: Path, document: Document) -> tuple[list[Manifest], list[Problem]]:
    try:
        bodies = read_config_maps(document.value, folder=file.parent)
    except WrongFilesError as error:
        return [], [_at(file, document, finding) for finding in error.findings]
    return [
        Manifest(
            kind=body["kind"],
            name=body["metadata"]["name"],
            namespace=body["metadata"]["namespace"],
            body=body,
            file=file,
            document=document,
        )
        for body in bodies
    ], []


def _build_manifest(file: Path, document: Document) -> Manifest:
    value = document.value
    metadata = {key: value["metadata"][key] for key in _METADATA if value["metadata"].get(key) is not None}
    metadata = {"namespace": "default", **metadata}
    body = {
        "apiVersion": value["apiVersion"],
        "kind": value["kind"],
        "metadata": metadata,
        "spec": _without_nulls(value["spec"]),
    }
    return Manifest(
        kind=value["kind"],
        name=metadata["name"],
        namespace=metadata["namespace"],
        body=body,
        file=file,
        document=document,
    )


def _without_nulls(value: Any) -> Any:
    """Drop what is null: for an API server, too, a field that holds nothing is absent."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _find_wrong_envelope(value: Any) -> Iterator[Finding]:
    """Yield what is wrong with a document around its spec."""
    if not isinstance(value, Mapping):
        yield Finding(
            path="the document", rule="must be an object", found=_show(value), remedy="begin with apiVersion:"
        )
        return
    yield from _find_unknown("", value, _FIELDS)
    yield from _find_wrong_kind(value)
    yield from _find_wrong_metadata(value.get("metadata"))
    if not isinstance(value.get("spec"), Mapping):
        yield Finding(path="spec", rule="must be an object", found=_show(value.get("spec")), remedy="add it")


def _find_wrong_kind(value: Mapping[str, Any]) -> Iterator[Finding]:
    kind, version = value.get("kind"), value.get("apiVersion")
    if kind not in API_VERSIONS:
        known = ", ".join(API_VERSIONS)
        remedy = _nearest(str(kind), API_VERSIONS) or "take it out: Oarlock on one machine has no use for it"
        yield Finding(path="kind", rule=f"must be one of {known}", found=_show(kind), remedy=remedy)
    elif version != API_VERSIONS[kind]:
        yield Finding(
            path="apiVersion",
            rule=f"must be {API_VERSIONS[kind]} for a {kind}",
            found=_show(version),
            remedy="correct it",
        )


def _find_wrong_metadata(metadata: Any) -> Iterator[Finding]:
    if not isinstance(metadata, Mapping):
        yield Finding(
            path="metadata", rule="must be an object", found=_show(metadata), remedy="add metadata: {name: …}"
        )
        return
    yield from _find_unknown("metadata.", metadata, _METADATA)
    for field_name in ("name", "namespace"):
        value = metadata.get(field_name)
        if (value is not None or field_name == "name") and not (isinstance(value, str) and value):
            yield Finding(path=f"metadata.{field_name}", rule="must be a text", found=_show(value), remedy="give one")
    for field_name in ("labels", "annotations"):
        yield from _find_wrong_texts(f"metadata.{field_name}", metadata.get(field_name))


def _find_wrong_texts(path: str, value: Any) -> Iterator[Finding]:
    if value is None:
        return
    if not isinstance(value, Mapping):
        yield Finding(path=path, rule="must be an object", found=_show(value), remedy="write key: value below it")
        return
    for key, item in value.items():
        if not isinstance(item, str):
            yield Finding(path=f"{path}.{key}", rule="must be a text", found=_show(item), remedy="put it in quotes")


def _find_unknown(prefix: str, value: Mapping[str, Any], known: Sequence[str]) -> Iterator[Finding]:
    for key in value:
        if key not in known and key not in _FROM_SERVER:
            remedy = _nearest(key, known) or f"the fields here are {', '.join(known)}"
            yield Finding(path=f"{prefix}{key}", rule="is not a field", remedy=remedy)


def _override_all(manifests: Sequence[Manifest], overrides: Sequence[Override]) -> tuple[list[Manifest], list[Problem]]:
    changed = list(manifests)
    problems: list[Problem] = []
    for change in overrides:
        concerned = [index for index, manifest in enumerate(changed) if change.concerns(manifest.kind, manifest.name)]
        if not concerned and manifests:
            finding = Finding(
                path=change.path, rule="must concern a manifest", remedy=f"there is no {change.kind} here"
            )
            problems.append(Problem(place=f"--set {change.text}", finding=finding))
        for index in concerned:
            try:
                body = override(changed[index].body, change)
                changed[index] = replace(changed[index], body=body, overrides=(*changed[index].overrides, change))
            except OverrideError as error:
                finding = Finding(path=change.path, rule="must lead to a field", found=str(error), remedy="correct it")
                problems.append(Problem(place=f"--set {change.text}", finding=finding))
    return changed, problems


def _find_problems(manifest: Manifest) -> Iterator[Problem]:
    """Yield what is wrong with the spec of a manifest."""
    for finding in _check_spec(manifest):
        word = manifest.document.words.get(finding.path)
        if word and finding.found in {"True", "False"}:
            remedy = f'write "{word}": without quotes YAML reads {word} as {finding.found.lower()}'
            finding = replace(finding, remedy=remedy)  # noqa: PLW2901  # the same finding, said better
        yield Problem(place=manifest.place_of(finding.path), finding=finding)


def _check_spec(manifest: Manifest) -> Sequence[Finding]:
    spec = manifest.body["spec"]
    match manifest.kind:
        case "Dataset":
            return validate_dataset(spec, name=manifest.name).findings
        case "TrainingJob":
            return validate_training_job(spec, name=manifest.name).findings
    return ()


def _find_misfits(valid: Sequence[Manifest], known: Iterable[Body]) -> Iterator[Problem]:
    surroundings = survey((manifest.body for manifest in valid), known)
    for manifest in valid:
        if manifest.kind == "TrainingJob":
            for finding in find_misfits(manifest.body, surroundings):
                yield Problem(place=manifest.place_of(finding.path), finding=finding)


def _find_doubles(manifests: Sequence[Manifest]) -> Iterator[Problem]:
    first: dict[tuple[str, str, str], Manifest] = {}
    for manifest in manifests:
        earlier = first.setdefault(manifest.key, manifest)
        if earlier is not manifest:
            finding = Finding(
                path="metadata.name",
                rule=f"must be another one than that of the {manifest.kind} in {earlier.place_of('metadata.name')}",
                found=manifest.name,
                remedy="rename one of them",
            )
            yield Problem(place=manifest.place_of("metadata.name"), finding=finding)


def _at(file: Path, document: Document, finding: Finding) -> Problem:
    line = finding.line or document.line_of(finding.path)
    return Problem(place=f"{file}:{line}", finding=finding)


def _at_file(file: Path, rule: str, *, remedy: str, found: str = "") -> Problem:
    kind = "the folder" if file.is_dir() else "the file"
    return Problem(place=str(file), finding=Finding(path=kind, rule=rule, found=found, remedy=remedy))


def _nearest(name: str, known: Iterable[str]) -> str:
    lowered = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(name.lower(), lowered, n=1)
    return f"did you mean {lowered[close[0]]}?" if close else ""


def _show(value: Any) -> str:
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…"
