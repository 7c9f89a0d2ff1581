"""`oarlock model`: what is no shape of a sample is refused before anything is built."""

import pytest

from oarlock.cli.consoles import make_console
from oarlock.cli.layers import show_model
from oarlock.running.outcomes import EXIT_INVALID


@pytest.mark.parametrize("shape", ["0", "28x0x1", "28x28", "-1", "many"])
def test_shape_is_refused_when_no_sample_can_have_it(shape: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert show_model(make_console(), "textcnn", shape=shape, outputs=2) == EXIT_INVALID
    assert f"each at least 1, got {shape!r}" in capsys.readouterr().err
