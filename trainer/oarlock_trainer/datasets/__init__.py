"""Data sets on disk: written once by an import, read by every job.

A data set is a folder: Arrow IPC shards, `mean-image.npy` or `vocabulary.txt`, and `dataset.json`, which is written last and says
what the rest must be. Everything that knows this format is here; where the samples came from is the business of `oarlock_trainer.importing`.
No torch: importing and inspecting a data set must work without it.
"""

from oarlock_trainer.datasets.columns import Column, Columns
from oarlock_trainer.datasets.manifest import DatasetManifest, Reject, ShardFacts
from oarlock_trainer.datasets.readers import ReaderError, Readers
from oarlock_trainer.datasets.stored import StoredDataset, StoredSplit, open_dataset
from oarlock_trainer.datasets.tokens import Tokenizer
from oarlock_trainer.datasets.writing import write_dataset

__all__ = [
    "Column",
    "Columns",
    "DatasetManifest",
    "ReaderError",
    "Readers",
    "Reject",
    "ShardFacts",
    "StoredDataset",
    "StoredSplit",
    "Tokenizer",
    "open_dataset",
    "write_dataset",
]
