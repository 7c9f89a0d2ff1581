"""Finds the mask whose value made classes that no mask shows: one pixel of 17 among values up to 2 makes 18 classes.

Without a class map the values are the classes, so that a slip of the brush and a class that is rare look the same here: it
says what it found, and where, and refuses nothing.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from oarlock_trainer.datasets.shards import map_shard
from oarlock_trainer.importing.folders import printable
from oarlock_trainer.importing.forms import SampleForm
from oarlock_trainer.importing.shard_tasks import ShardResult, ShardTask

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from oarlock_trainer.datasets.manifest import ShardFacts
    from oarlock_trainer.importing.samples import PairSamples

_REMEDY = "Correct the mask, or name the classes in a classMap"
"""Short: what goes into the status has room for 150 bytes."""


def find_stray_values(
    form: SampleForm, tasks: Sequence[ShardTask], results: Sequence[ShardResult], classes: int
) -> Counter[str]:
    """Return the remark, by how many of the classes have no pixel; none if the masks show all of them.

    Args:
        form: what the shards hold, and how.
        tasks: what the shards were made from.
        results: what became of it.
        classes: how many there are: one more than the highest value.
    """
    filled = [result for result in results if result.facts]
    if not filled:
        return Counter()
    pixels = np.sum([result.class_counts[:classes] for result in filled], axis=0)
    unseen = int((pixels == 0).sum())
    if not unseen:
        return Counter()
    top = classes - 1
    shown = next(result for result in filled if result.class_counts[top])
    task = next(task for task in tasks if (task.split, task.index) == (shown.split, shown.index))
    file = _name_mask(task, shown, _find_row(form, task, shown, top))
    return Counter(
        {
            f"of {classes} classes have no pixel: the value {top} ({pixels[top]:,} px, first in {file}) makes so many. {_REMEDY}": unseen
        }
    )


def _find_row(form: SampleForm, task: ShardTask, result: ShardResult, value: int) -> int:
    """Return the first row of the shard whose mask holds the value."""
    facts = cast("ShardFacts", result.facts)  # it was chosen for what it holds
    masks: NDArray[np.uint8] = map_shard(task.folder, facts, form.columns)[1]
    return next(row for row, mask in enumerate(masks) if (mask == value).any())


def _name_mask(task: ShardTask, result: ShardResult, row: int) -> str:
    """Return the file of the mask in a row: rows are the samples that were not refused."""
    samples = cast("PairSamples", task.samples)  # there are no masks without images
    refused = {reject.path for reject in result.rejects}
    kept = [position for position, path in enumerate(samples.paths) if printable(path) not in refused]
    return printable(samples.partners[kept[row]])
