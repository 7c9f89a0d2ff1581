"""Which layouts and forms go with which task of a Dataset. Pure."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from oarlock_api.rule import Rule, Scope
from oarlock_api.v1alpha1.dataset import Task

_IMAGES = (Task.IMAGE_CLASSIFICATION, Task.IMAGE_TO_IMAGE)
_TASKS_OF_LAYOUT: Mapping[str, tuple[Task, ...]] = MappingProxyType(
    {
        "folders": (*_IMAGES, Task.TEXT_CLASSIFICATION),
        "textFiles": (*_IMAGES, Task.TEXT_CLASSIFICATION),
        "csv": (*_IMAGES, Task.TEXT_CLASSIFICATION, Task.TABULAR),
        "idx": _IMAGES,
        "kitti": (Task.OBJECT_DETECTION,),
        "coco": (Task.OBJECT_DETECTION,),
        "pairs": (Task.SEGMENTATION, Task.IMAGE_TO_IMAGE),
    }
)
_IMAGE_TASKS = (*_IMAGES, Task.SEGMENTATION, Task.OBJECT_DETECTION)

_TASK_IN_CEL = f"(has(self.task) ? self.task : '{Task.IMAGE_CLASSIFICATION.value}')"


def _task(spec: Scope) -> str:
    return str(spec.get("task") or Task.IMAGE_CLASSIFICATION.value)


def _look_up(spec: Scope, *path: str) -> Any:
    value: Any = spec
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _has_in_cel(*path: str) -> str:
    return " && ".join(f"has(self.{'.'.join(path[: length + 1])})" for length in range(len(path)))


def _require_task(*path: str, tasks: tuple[Task, ...]) -> Rule:
    """Return the rule that a field is there only for some tasks."""
    names = [task.value for task in tasks]

    def broken(spec: Scope) -> str | None:
        return _task(spec) if _look_up(spec, *path) is not None and _task(spec) not in names else None

    field = ".".join(path)
    return Rule(
        at="spec",
        cel=f"!({_has_in_cel(*path)}) || {_TASK_IN_CEL} in {names}",
        broken=broken,
        rule=f"must have the task {' or '.join(names)} for {field}",
        remedy=f"set task, or leave {field} out and use what goes with the task",
    )


def _require_field(*path: str, task: Task, remedy: str) -> Rule:
    """Return the rule that a layout has a field for a task."""

    def broken(spec: Scope) -> str | None:
        layout = _look_up(spec, *path[:-1])
        missing = isinstance(layout, Mapping) and layout.get(path[-1]) is None
        return f"no {path[-1]}" if missing and _task(spec) == task.value else None

    return Rule(
        at="spec",
        cel=f"!({_has_in_cel(*path[:-1])}) || has(self.{'.'.join(path)}) || {_TASK_IN_CEL} != '{task.value}'",
        broken=broken,
        rule=f"must have {'.'.join(path)} for {task.value}",
        remedy=remedy,
    )


TASK_RULES: tuple[Rule, ...] = (
    *(_require_task("layout", layout, tasks=tasks) for layout, tasks in _TASKS_OF_LAYOUT.items()),
    _require_task("layout", "csv", "text", tasks=(Task.TEXT_CLASSIFICATION,)),
    _require_task("layout", "pairs", "classMap", tasks=(Task.SEGMENTATION,)),
    _require_field(
        *("layout", "csv", "text"), task=Task.TEXT_CLASSIFICATION, remedy="set it to the column that holds the texts"
    ),
    _require_field(*("layout", "pairs", "masks"), task=Task.SEGMENTATION, remedy="name the folder with the masks"),
    _require_task("image", tasks=_IMAGE_TASKS),
    _require_task("text", tasks=(Task.TEXT_CLASSIFICATION,)),
)
