from pathlib import Path

import pytest
from training.small_runs import write_small_dataset


@pytest.fixture(scope="session")
def dataset_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the small data set in `data`."""
    folder = tmp_path_factory.mktemp("small")
    write_small_dataset(folder / "data")
    return folder


@pytest.fixture(scope="session")
def version(dataset_folder: Path) -> str:
    from oarlock_trainer.datasets import open_dataset

    return open_dataset(dataset_folder / "data").manifest.version
