"""Divides samples into training, validation and test, the same way for the same seed.

Stratified: every class gives each split its share, rounded down or up, such that the split as a whole has exactly its share; at
least one sample of every class stays for training. Pure.
"""

import numpy as np
from numpy.typing import NDArray

from oarlock_api.v1alpha1.dataset import Split
from oarlock_trainer.errors import ConfigError
from oarlock_trainer.importing.samples import SPLITS, UNDIVIDED, Listing


def divide(listing: Listing, split: Split) -> dict[str, NDArray[np.int64]]:
    """Return the rows of each split, shuffled; splits without samples are left out.

    Samples that the source assigns to a split stay there. The others are divided by the shares of the spec, less those of splits
    that the source provides.

    Raises:
        ConfigError: if the shares leave nothing to train on.
    """
    shares = {
        "validation": 0.0 if _provides(listing, "validation") else split.validation,
        "test": 0.0 if split.folders or _provides(listing, "test") else split.test,
    }
    if sum(shares.values()) >= 1:
        raise ConfigError(
            f"spec.split leaves nothing to train on: validation {split.validation} and test {split.test} add up to 1 or more",
            remedy="lower spec.split.validation or spec.split.test",
        )
    assigned = _assign(listing, shares, seed=split.seed)
    order = _shuffle(len(assigned), seed=split.seed)
    rows = {name: order[assigned[order] == index] for index, name in enumerate(SPLITS)}
    return {name: part for name, part in rows.items() if len(part)}


def _provides(listing: Listing, split: str) -> bool:
    return bool((listing.given == SPLITS.index(split)).any())


def _assign(listing: Listing, shares: dict[str, float], *, seed: int) -> NDArray[np.int8]:
    """Return the split of every sample, as an index into SPLITS."""
    assigned = listing.given.copy()
    order = _shuffle(len(assigned), seed=seed)
    free = order[assigned[order] == UNDIVIDED]
    labels = listing.labels[free]
    sizes = np.bincount(labels, minlength=max(1, len(listing.classes)))
    held_out = {name: np.zeros_like(sizes) for name in shares}
    room = np.maximum(sizes - 1, 0)
    for name, share in shares.items():
        held_out[name] = share_out(sizes, share, room=room)
        room = room - held_out[name]
    # Position of each sample among those of its class, in the shuffled order: the first ones are held out.
    place = _place_within_class(labels, sizes)
    validation_end = held_out["validation"][labels]
    test_end = validation_end + held_out["test"][labels]
    assigned[free] = np.where(place < validation_end, 1, np.where(place < test_end, 2, 0))
    return assigned


def share_out(sizes: NDArray[np.int64], share: float, *, room: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many of each class's samples a split gets: largest remainders first, never more than there is room for."""
    quotas = sizes * share
    counts: NDArray[np.int64] = np.minimum(np.floor(quotas + 1e-9).astype(np.int64), room)
    target = int(np.floor(sizes.sum() * share + 0.5))
    wanted = np.argsort(-(quotas - counts), kind="stable")
    able = wanted[(counts < np.minimum(room, quotas))[wanted]]
    counts[able[: max(0, target - int(counts.sum()))]] += 1
    return counts


def _place_within_class(labels: NDArray[np.int32], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    by_class = np.argsort(labels, kind="stable")
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    place = np.empty(len(labels), dtype=np.int64)
    place[by_class] = np.arange(len(labels)) - np.repeat(starts, sizes)
    return place


def _shuffle(count: int, *, seed: int) -> NDArray[np.int64]:
    """Return a permutation. The raw stream of a bit generator never changes between numpy versions; `permutation` may."""
    order: NDArray[np.int64] = np.argsort(np.random.Philox(key=seed).random_raw(count), kind="stable")
    return order
