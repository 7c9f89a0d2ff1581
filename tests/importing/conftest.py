import os
from pathlib import Path

import numpy as np
import pytest
from importing.made_sources import encode


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """260 files that take a few milliseconds each: two real images, linked."""
    root = tmp_path_factory.mktemp("photos")
    for number, name in enumerate(("sea", "sky")):
        (root / name).mkdir()
        noise = np.random.default_rng(number).integers(0, 256, (128, 128, 3), dtype=np.uint8)
        (root / name / "000.png").write_bytes(encode(noise))
        for index in range(1, 130):
            os.link(root / name / "000.png", root / name / f"{index:03d}.png")
    return root
