"""From what is named on the command line to manifests in order: files, folders of manifests, folders of images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from oarlock.infer import choose, derive_name, format_folder_line, format_manifests, observe_folder
from oarlock.local.object_store import Object, read_objects
from oarlock.local.runs_folder import RunsFolder
from oarlock.manifests.overrides import Override, give_way
from oarlock.manifests.problems import ManifestsError
from oarlock.manifests.reading import Manifest, read_manifests
from oarlock.manifests.yaml_values import parse_documents
from oarlock.running.claims import build_claims, settle_claims
from oarlock.running.ordering import find_missing, order

_MANIFEST_SUFFIXES = frozenset({".yaml", ".yml"})


def is_image_folder(path: Path) -> bool:
    """Say whether a path is a folder with folders and no manifests in it."""
    if not path.is_dir():
        return False
    entries = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
    has_folders = any(map(Path.is_dir, entries))
    has_json = any(entry.suffix == ".json" for entry in entries)
    return not _holds_manifests(path) and (has_folders or not has_json)


def _holds_manifests(folder: Path) -> bool:
    patterns = [f"{below}*{suffix}" for below in ("", "*/") for suffix in _MANIFEST_SUFFIXES]
    return any(next(folder.glob(pattern), None) for pattern in patterns)


def read_inputs(
    paths: Sequence[Path],
    *,
    runs: RunsFolder,
    overrides: Sequence[Override] = (),
    claims: Sequence[str] = (),
    fresh: bool = False,
    save: bool = True,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Manifest]:
    """Return the manifests to run, in order; for a folder of images they are inferred and told first.

    `save` keeps what was inferred in the runs folder, and `fresh` infers again what was kept.

    Raises:
        ManifestsError: with everything that is wrong.
        UnsuitableFolderError: if a folder of images cannot be trained on.
        DamagedStoreError: if the runs folder is damaged.
    """
    drafts = {path: infer_manifests(path, runs, fresh=fresh, tell=tell) for path in paths if is_image_folder(path)}
    files = [drafts[path].file if path in drafts else path for path in paths]
    texts = {draft.file: draft.text for draft in drafts.values()}
    given = build_claims(claims)
    named = {(claim.kind, claim.name) for claim in given}
    there = list_known(runs)
    # A job that begins anew is asked like a new one.
    kept = [item for item in there if not (fresh and item["kind"] == "TrainingJob")]
    outdone = [change for text in texts.values() for change in give_way(_list_names(text), overrides)]
    read = read_manifests(files, overrides=[*outdone, *overrides], texts=texts, known=kept)
    for draft in drafts.values() if save else ():
        _save(draft, runs, tell)
    # What the command line says of a claim takes the place of what a manifest says of it.
    manifests = settle_claims([*given, *(each for each in read if (each.kind, each.name) not in named)])
    known = {(item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]) for item in there}
    problems = list(find_missing(manifests, known))
    if problems:
        raise ManifestsError(problems)
    return order(manifests)


def _list_names(text: str) -> list[tuple[str, str]]:
    """Return kind and name of each object in manifests that were inferred, which the user may have broken since."""
    values = [document.value for document in parse_documents(text) if isinstance(document.value, Mapping)]
    found = [(value.get("kind"), value.get("metadata")) for value in values]
    return [(str(kind), str(named.get("name"))) for kind, named in found if isinstance(named, Mapping)]


def list_known(runs: RunsFolder) -> list[Object]:
    """Return the objects of a runs folder, whoever works with it at this moment."""
    return list(read_objects(runs.store))


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """The manifests for a folder of images."""

    file: Path
    """Where they are, or will be."""
    text: str


def infer_manifests(root: Path, runs: RunsFolder, *, fresh: bool, tell: Callable[[str], None]) -> Draft:
    """Return the manifests for a folder of images: those of before, which the user may have changed, or new ones."""
    file = _find_manifest_file(root, runs)
    if file.exists() and not fresh:
        tell(f"Using {file} from before; --fresh looks at the images anew.")
        return Draft(file=file, text=file.read_text())
    folder = observe_folder(root)
    text = format_manifests(folder, choose(folder), file=file)
    tell(text)
    return Draft(file=file, text=text)


def _save(draft: Draft, runs: RunsFolder, tell: Callable[[str], None]) -> None:
    if draft.file.exists() and draft.file.read_text() == draft.text:
        return
    runs.prepare()
    if draft.file.exists():  # the user may have changed it
        kept = draft.file.replace(draft.file.with_suffix(".yaml.before"))
        tell(f"Kept the manifests of before as {kept}.")
    draft.file.write_text(draft.text)
    tell(f"Saved as {draft.file}.")


def _find_manifest_file(root: Path, runs: RunsFolder) -> Path:
    """Return where the manifests of a folder are, or will be; folders of equal names do not share one."""
    plain = runs.root / f"{derive_name(root)}.yaml"
    if not plain.exists() or format_folder_line(root) in plain.read_text():
        return plain
    return runs.root / f"{derive_name(root, taken=[plain.stem])}.yaml"
