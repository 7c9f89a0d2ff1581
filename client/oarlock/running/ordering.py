"""In which order manifests run on one machine: claims, then what others wait for, one after the other. Pure."""

from collections.abc import Collection, Iterator, Sequence

from oarlock.manifests.problems import Problem
from oarlock.manifests.reading import Manifest
from oarlock_api.findings import Finding

Key = tuple[str, str, str]

_RANKS = {"PersistentVolumeClaim": 0, "ConfigMap": 0, "Dataset": 1, "TrainingJob": 2}


def order(manifests: Sequence[Manifest]) -> list[Manifest]:
    """Return the manifests such that each comes after what it waits for, else as they were given.

    A job follows its Dataset directly, so that the first job need not wait for the import of the last one's data.
    """
    by_key = {manifest.key: manifest for manifest in manifests}
    ordered: dict[Key, Manifest] = {}

    begun: set[Key] = set()

    def take(manifest: Manifest) -> None:
        begun.add(manifest.key)  # jobs that begin with each other's weights wait in vain, but not here
        for key in _list_needs(manifest):
            if key in by_key and key not in begun:
                take(by_key[key])
        ordered.setdefault(manifest.key, manifest)

    for manifest in sorted(manifests, key=lambda each: _RANKS[each.kind] == 0, reverse=True):
        if manifest.kind != "Dataset" and manifest.key not in begun:
            take(manifest)
    for manifest in manifests:  # Datasets for which there is no job
        if manifest.key not in begun:
            take(manifest)
    return list(ordered.values())


def find_missing(manifests: Sequence[Manifest], known: Collection[Key]) -> Iterator[Problem]:
    """Yield a problem for everything that a manifest needs and that is neither among the manifests nor there already."""
    there = {*known, *(manifest.key for manifest in manifests)}
    for manifest in manifests:
        for need in _list_needs(manifest):
            if need not in there:
                yield _describe_missing(manifest, need)


def find_absent_datasets(manifests: Sequence[Manifest]) -> Iterator[tuple[str, str]]:
    """Yield where a job names a Dataset that is not among the manifests, and its name: it may be on a cluster already."""
    there = {manifest.key for manifest in manifests}
    for manifest in manifests:
        for kind, _, name in (need for need in _list_needs(manifest) if need not in there):
            if kind == "Dataset":
                yield manifest.place_of("spec.dataset.name"), name


def _describe_missing(manifest: Manifest, need: Key) -> Problem:
    kind, _, name = need
    if kind == "Dataset":
        path, remedy = "spec.dataset.name", "name its manifest on the command line too, or correct the name"
    elif kind == "TrainingJob":
        path, remedy = "spec.model.initFrom.job", "name its manifest on the command line too, or correct the name"
    elif kind == "ConfigMap":
        path, remedy = "spec.code.configMap", "name its manifest too, or a kustomization.yaml that makes it of files"
    else:
        path = "spec.source.volume.claim"
        remedy = f"say which folder it is: --claim {name}=FOLDER"
    rule = f"must name a {kind} that is here or among the manifests"
    finding = Finding(path=path, rule=rule, found=name, remedy=remedy)
    return Problem(place=manifest.place_of(path), finding=finding)


def _list_needs(manifest: Manifest) -> list[Key]:
    spec = manifest.body["spec"]
    if manifest.kind == "TrainingJob":
        data = [("Dataset", manifest.namespace, spec["dataset"]["name"])] if "dataset" in spec else []
        code = [("ConfigMap", manifest.namespace, spec["code"]["configMap"])] if "code" in spec else []
        earlier = spec.get("model", {}).get("initFrom", {}).get("job")
        return [*data, *code, *([("TrainingJob", manifest.namespace, earlier)] if earlier else [])]
    volume = spec.get("source", {}).get("volume") if manifest.kind == "Dataset" else None
    return [("PersistentVolumeClaim", manifest.namespace, volume["claim"])] if volume else []
