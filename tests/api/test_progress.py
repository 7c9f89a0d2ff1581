"""The status means the same after its way over the wire: what is read back differs from what was written in nothing."""

import pytest

from oarlock_api.v1alpha1.status import Progress, TrainingJobStatus


@pytest.mark.parametrize("percent", [None, 0, 7])
def test_progress_survives_the_way_over_the_wire(percent: int | None) -> None:
    status = TrainingJobStatus(progress=Progress(step=3, percent=percent))

    assert TrainingJobStatus.from_wire(status.to_wire()) == status


def test_no_optional_field_of_a_status_is_read_back_as_something() -> None:
    empty = {name: None for name, field in Progress.model_fields.items() if field.default is None}
    progress = Progress(**empty)

    assert "percent" in empty
    assert Progress.from_wire(progress.to_wire()) == progress
