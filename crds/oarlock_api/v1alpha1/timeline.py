"""What a recipe asks to see of its steps: their timeline."""

from typing import Annotated

from pydantic import Field

from oarlock_api.wire import WireModel

DEFAULT_FIRST_STEP = 20
"""By then a GPU's kernels are chosen and its memory is taken."""


class Trace(WireModel):
    """A timeline of some steps of rank 0, with every operation on CPU and GPU."""

    first_step: Annotated[int, Field(ge=1, le=1_000_000_000)] = DEFAULT_FIRST_STEP
    """The first step that is traced, counted from 1. A run that resumes after it traces nothing."""
    steps: Annotated[int, Field(ge=1, le=50)] = 5
    """Steps that are traced. A step is a megabyte or so, before it is compressed; these steps take longer than others."""
