"""The folders of a source that hold one split each; the source itself where it knows no splits. Pure."""

from dataclasses import dataclass

from oarlock_api.v1alpha1.dataset import Split
from oarlock_trainer.importing.samples import SPLITS, UNDIVIDED


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitFolder:
    """One folder, in which everything lies as the layout says."""

    split: int
    """Index into `SPLITS`, or UNDIVIDED."""
    path: str
    """Relative to the source; empty: the source itself."""
    trains: bool
    """Whether there are training samples in it."""

    def inner(self, path: str) -> str:
        """Return a path in it as a path in the source."""
        return f"{self.path}/{path}" if self.path else path


def find_split_folders(split: Split) -> list[SplitFolder]:
    """Return the folders of the splits, that for training first."""
    if split.folders is None:
        return [SplitFolder(split=UNDIVIDED, path="", trains=True)]
    named = (split.folders.train, split.folders.validation, split.folders.test)
    # What is not validated on by a folder of its own is split off from the training folder.
    train = SPLITS.index("train") if split.folders.validation is not None else UNDIVIDED
    return [
        SplitFolder(split=index or train, path=path, trains=not index)
        for index, path in enumerate(named)
        if path is not None
    ]
