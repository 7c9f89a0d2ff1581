"""The one table of cross-field rules: each as CEL for the API server and as Python for every other reader.

A test evaluates both on the same objects. Pure; the Python twins accept whatever a user wrote, and leave wrong types to the
models.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from oarlock_api.class_weights import CLASS_WEIGHT_RULES
from oarlock_api.dataset_rules import TASK_RULES
from oarlock_api.findings import Finding
from oarlock_api.group_rules import PARAMETER_GROUP_RULES
from oarlock_api.model_rules import MODEL_RULES
from oarlock_api.optimizers import OPTIMIZER_RULES
from oarlock_api.pod_template_rules import build_pod_template_rules
from oarlock_api.rule import Rule, Scope, list_given, number_of, require_exactly_one
from oarlock_api.schedules import SCHEDULE_RULES
from oarlock_api.script_rules import SCRIPT_RULES
from oarlock_api.timeline_rules import TIMELINE_RULES
from oarlock_api.tuning_rules import TUNING_RULES

__all__ = ["DATASET_RULES", "TRAINING_JOB_RULES", "Rule", "find_broken_rules", "iterate_scopes"]


def _at_most(at: str, small: str, large: str, *, remedy: str) -> Rule:
    def broken(scope: Scope) -> str | None:
        low, high = number_of(scope, small), number_of(scope, large)
        return f"{low} and {high}" if low is not None and high is not None and low > high else None

    return Rule(
        at=at,
        cel=f"!has(self.{small}) || !has(self.{large}) || self.{small} <= self.{large}",
        broken=broken,
        rule=f"must have {small} at most {large}",
        remedy=remedy,
    )


def _both_epochs_and_steps(recipe: Scope) -> str | None:
    return "both" if len(list_given(recipe, ("epochs", "maxSteps"))) == 2 else None  # noqa: PLR2004


def _processes_beside_gpus(workers: Scope) -> str | None:
    gpus = number_of(workers, "gpusPerNode")
    processes = workers.get("processesPerNode")
    return f"gpusPerNode {gpus} and processesPerNode {processes}" if gpus and processes is not None else None


def _nodes_out_of_bounds(workers: Scope) -> str | None:
    elastic, nodes = workers.get("elastic"), number_of(workers, "nodes")
    if not isinstance(elastic, Mapping) or nodes is None:
        return None
    low, high = number_of(elastic, "minNodes"), number_of(elastic, "maxNodes")
    if low is None or high is None or low <= nodes <= high:
        return None
    return f"nodes {nodes} outside {low} to {high}"


def _creation_fields_beside_claim(volume: Scope) -> str | None:
    given = list_given(volume, ("storageClass", "accessModes"))
    return f"claim and {' and '.join(given)}" if given and volume.get("claim") is not None else None


def _only_readable(volume: Scope) -> str | None:
    modes = volume.get("accessModes")
    return (
        "only ReadOnlyMany" if isinstance(modes, list) and modes and set(map(str, modes)) == {"ReadOnlyMany"} else None
    )


def _ema_weights_without_ema(recipe: Scope) -> str | None:
    validation = recipe.get("validation")
    wants = isinstance(validation, Mapping) and validation.get("weights") == "ema"
    return "weights ema, and no ema" if wants and recipe.get("ema") is None else None


def _no_interval(every: Scope) -> str | None:
    return None if list_given(every, ("minutes", "epochs", "steps")) else "none"


def _most_nodes(workers: Scope) -> float | None:
    elastic = workers.get("elastic")
    most = number_of(elastic, "maxNodes") if isinstance(elastic, Mapping) else None
    return max((number for number in (most, number_of(workers, "nodes")) if number is not None), default=None)


def _once_only_on_many_nodes(spec: Scope) -> str | None:
    workers, checkpoints = spec.get("workers"), spec.get("checkpoints")
    volume = checkpoints.get("volume") if isinstance(checkpoints, Mapping) else None
    nodes = _most_nodes(workers) if isinstance(workers, Mapping) else None
    modes = volume.get("accessModes") if isinstance(volume, Mapping) else None
    if nodes is None or nodes <= 1 or not isinstance(modes, list) or not modes or "ReadWriteMany" in modes:
        return None
    return f"{nodes} nodes and {', '.join(map(str, modes))}"


def _test_and_validation_leave_nothing(split: Scope) -> str | None:
    validation, test = number_of(split, "validation"), number_of(split, "test")
    if validation is None or test is None or validation + test < 1:
        return None
    return f"{validation} and {test}"


def _volume_rules(at: str) -> tuple[Rule, ...]:
    return (
        Rule(
            at=at,
            cel="!has(self.claim) || (!has(self.storageClass) && !has(self.accessModes))",
            broken=_creation_fields_beside_claim,
            rule="must not describe a claim to create beside an existing claim",
            remedy="drop claim, or drop storageClass and accessModes",
        ),
        Rule(
            at=at,
            cel="!has(self.accessModes) || self.accessModes.exists(mode, mode != 'ReadOnlyMany')",
            broken=_only_readable,
            rule="must be writable",
            remedy="add ReadWriteOnce or ReadWriteMany to accessModes",
        ),
    )


DATASET_RULES: tuple[Rule, ...] = (
    require_exactly_one("spec.source", "volume", "http", "s3", "package"),
    require_exactly_one("spec.layout", "folders", "textFiles", "csv", "idx", "kitti", "coco", "pairs", "dicom"),
    Rule(
        at="spec.split",
        cel="!has(self.validation) || !has(self.test) || self.validation + self.test < 1.0",
        broken=_test_and_validation_leave_nothing,
        rule="must leave samples for training",
        remedy="lower validation or test, so that they add up to less than 1",
    ),
    *TASK_RULES,
    *_volume_rules("spec.storage"),
    *build_pod_template_rules("spec.podTemplate"),
)

TRAINING_JOB_RULES: tuple[Rule, ...] = (
    require_exactly_one("spec", "model", "script"),
    *SCRIPT_RULES,
    require_exactly_one("spec.model", "name", "torchvision", "timm", "python"),
    require_exactly_one("spec.model.initFrom", "job", "path"),
    *MODEL_RULES,
    Rule(
        at="spec.recipe",
        cel="!has(self.epochs) || !has(self.maxSteps)",
        broken=_both_epochs_and_steps,
        rule="must not have both epochs and maxSteps",
        remedy="keep the one you mean",
    ),
    _at_most("spec.recipe", "microBatchSize", "batchSize", remedy="lower microBatchSize"),
    require_exactly_one("spec.recipe.validation.every", "epochs", "steps"),
    Rule(
        at="spec.recipe",
        cel="!has(self.validation) || !has(self.validation.weights) || self.validation.weights != 'ema' || has(self.ema)",
        broken=_ema_weights_without_ema,
        rule="must have ema for validation.weights to be ema",
        remedy="add ema, or set validation.weights to model",
    ),
    *CLASS_WEIGHT_RULES,
    *OPTIMIZER_RULES,
    *PARAMETER_GROUP_RULES,
    *SCHEDULE_RULES,
    *TIMELINE_RULES,
    *TUNING_RULES,
    Rule(
        at="spec.workers",
        cel="!has(self.processesPerNode) || !has(self.gpusPerNode) || self.gpusPerNode == 0",
        broken=_processes_beside_gpus,
        rule="must not have processesPerNode with GPUs: one process runs on each GPU",
        remedy="drop processesPerNode, or set gpusPerNode to 0",
    ),
    _at_most("spec.workers.elastic", "minNodes", "maxNodes", remedy="lower minNodes"),
    Rule(
        at="spec.workers",
        cel="!has(self.elastic) || !has(self.nodes)"
        " || (self.elastic.minNodes <= self.nodes && self.nodes <= self.elastic.maxNodes)",
        broken=_nodes_out_of_bounds,
        rule="must have nodes between elastic.minNodes and elastic.maxNodes",
        remedy="change nodes",
    ),
    Rule(
        at="spec.checkpoints.every",
        cel="has(self.minutes) || has(self.epochs) || has(self.steps)",
        broken=_no_interval,
        rule="must have at least one of minutes, epochs, steps",
        remedy="add one, or drop every",
    ),
    Rule(
        at="spec",
        cel="!has(self.workers) || ((!has(self.workers.nodes) || self.workers.nodes <= 1)"
        " && (!has(self.workers.elastic) || self.workers.elastic.maxNodes <= 1)) || !has(self.checkpoints)"
        " || !has(self.checkpoints.volume) || !has(self.checkpoints.volume.accessModes)"
        " || 'ReadWriteMany' in self.checkpoints.volume.accessModes",
        broken=_once_only_on_many_nodes,
        rule="must have a checkpoint volume with ReadWriteMany for more than one node",
        remedy="set checkpoints.volume.accessModes to [ReadWriteMany] and a storageClass that offers it",
    ),
    *_volume_rules("spec.checkpoints.volume"),
    *build_pod_template_rules("spec.workers.podTemplate"),
)


def find_broken_rules(rules: Sequence[Rule], manifest: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield a finding for every rule that the manifest breaks."""
    for rule in rules:
        for path, scope in iterate_scopes(manifest, rule.at):
            found = rule.broken(scope)
            if found is not None:
                yield Finding(path=path, rule=rule.rule, found=found, remedy=rule.remedy)


def iterate_scopes(manifest: Any, at: str) -> Iterator[tuple[str, Scope]]:
    """Yield the path and the value of every object that `at` names and that is there."""
    scopes: list[tuple[str, Any]] = [("", manifest)]
    for part in at.split("."):
        scopes = [step for path, scope in scopes for step in _descend(path, scope, part)]
    return ((path, scope) for path, scope in scopes if isinstance(scope, Mapping))


def _descend(path: str, scope: Any, part: str) -> Iterator[tuple[str, Any]]:
    key = part.removesuffix("[]")
    value = scope.get(key) if isinstance(scope, Mapping) else None
    where = f"{path}.{key}" if path else key
    if not part.endswith("[]"):
        yield where, value
    elif isinstance(value, list):
        yield from ((f"{where}[{index}]", item) for index, item in enumerate(value))
