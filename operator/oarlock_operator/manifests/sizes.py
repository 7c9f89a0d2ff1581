"""Checks that a run fits where it has to travel: into the status of its object, and into one variable of its pods. Pure."""

import json
from collections.abc import Iterator

from oarlock_api.contract import MAX_RUN_BYTES
from oarlock_api.findings import Finding
from oarlock_api.run import Run

MAX_FROZEN_RUN_BYTES = 8 * 1024
"""Half of what a status may take; the other half is for what changes."""
_MANY_CLASSES = 64
"""With so many names, it is these that take the room."""


def find_oversized_run(run: Run) -> Iterator[Finding]:
    """Yield a finding if a frozen run does not fit into `status.run`.

    A run that does also fits into OARLOCK_RUN, which holds a part of it and may take four times as much.
    """
    size = len(json.dumps(run.to_wire(), ensure_ascii=False).encode())
    if size > MAX_FROZEN_RUN_BYTES:
        yield Finding(
            path="spec",
            rule=f"must resolve to at most {MAX_FROZEN_RUN_BYTES} bytes",
            found=f"{size}",
            remedy=_advise(run),
        )


def _advise(run: Run) -> str:
    weighed = len((run.recipe.loss and run.recipe.loss.weight_by_class) or {}) if run.recipe else 0
    if weighed > _MANY_CLASSES:
        return (
            "name fewer classes in recipe.loss.weightByClass: those of weight 1 need none, and balanced needs no names"
        )
    return "move long values of workers.podTemplate (env, affinity, annotations) into a ConfigMap or the image"


def find_oversized_variable(text: str) -> Iterator[Finding]:
    """Yield a finding if `text` is too long for the variable OARLOCK_RUN."""
    size = len(text.encode())
    if size > MAX_RUN_BYTES:
        yield Finding(
            path="spec",
            rule=f"must take at most {MAX_RUN_BYTES} bytes as JSON",
            found=f"{size}",
            remedy="shorten the longest texts in it",
        )
