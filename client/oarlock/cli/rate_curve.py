"""The learning rate of a job over its run, drawn from the very function that the trainer follows. Pure."""

from collections.abc import Mapping
from typing import Any

from oarlock.cli.curves import plot
from oarlock_api.schedules import build_schedule
from oarlock_api.v1alpha1.recipe import Schedule

_SAMPLES = 400
_SIZE = (56, 8)
_STYLES = ("cyan", "cyan")


def draw_learning_rate(recipe: Mapping[str, Any]) -> list[str]:
    """Return the lines of the plot, in rich's markup, for a resolved recipe.

    Schedules depend on the share of the run that is done, so that its length need not be known.
    """
    schedule = Schedule.from_wire(recipe["schedule"])
    factor, highest = build_schedule(schedule, steps=_SAMPLES), float(recipe["optimizer"]["learningRate"])
    line = [(100 * step / _SAMPLES, highest * factor(step)) for step in range(_SAMPLES)]
    return plot(
        f"learning rate, {schedule.name}",
        [*line, (100.0, line[-1][1])],
        (),
        names=("", ""),
        styles=_STYLES,
        size=_SIZE,
        label=lambda rate: f"{rate:.3g}",
        end=lambda percent: f"{percent:.0f} % of the run",
    )
