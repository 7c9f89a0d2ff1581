"""The order of samples and the random draws: pure functions of (seed, position)."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from oarlock_api.v1alpha1.recipe import Augment, Flip
from oarlock_trainer.augmentation import Draws
from oarlock_trainer.order import Order, permute_epoch, rows_of_rank
from oarlock_trainer.randomness import Purpose, bits_to_integers, draw_bits, process_seed

seeds = st.integers(0, 2**31 - 1)
sizes = st.integers(1, 60)


@given(seed=seeds, samples=sizes, batch_size=sizes, epochs=st.integers(1, 4))
def test_every_epoch_is_a_permutation_when_batches_straddle_epochs(
    seed: int, samples: int, batch_size: int, epochs: int
) -> None:
    order = Order(seed=seed, samples=samples, batch_size=batch_size)
    steps = -(-epochs * samples // batch_size)

    consumed = np.concatenate([order.ids_of_step(step) for step in range(steps)])

    for epoch in range(epochs):
        assert sorted(consumed[epoch * samples : (epoch + 1) * samples]) == list(range(samples))


@given(seed=seeds, samples=sizes, batch_size=sizes, step=st.integers(0, 50))
def test_a_step_has_the_same_samples_when_a_run_begins_with_it(
    seed: int, samples: int, batch_size: int, step: int
) -> None:
    running = Order(seed=seed, samples=samples, batch_size=batch_size)
    for earlier in range(step):
        running.ids_of_step(earlier)

    resumed = Order(seed=seed, samples=samples, batch_size=batch_size).ids_of_step(step)

    assert np.array_equal(resumed, running.ids_of_step(step))


@given(rows=st.integers(1, 300), data=st.data())
def test_the_ranks_rows_are_all_rows_in_order_when_shares_are_uneven(rows: int, data: st.DataObject) -> None:
    processes = data.draw(st.integers(1, rows))

    shares = [rows_of_rank(rank, processes, rows) for rank in range(processes)]

    assert np.concatenate([np.arange(rows)[share] for share in shares]).tolist() == list(range(rows))
    sizes_of_shares = {share.stop - share.start for share in shares}
    assert max(sizes_of_shares) - min(sizes_of_shares) <= 1
    assert min(sizes_of_shares) >= 1


def test_epochs_differ_and_so_do_seeds() -> None:
    orders = [permute_epoch(seed, epoch, 1000).tolist() for seed in (0, 1) for epoch in (0, 1)]

    assert len({tuple(order) for order in orders}) == 4


def test_the_order_is_what_it_was_when_numpy_or_oarlock_is_newer() -> None:
    """A change here makes every checkpoint resume on other samples: it needs a new version of the contract."""
    assert permute_epoch(0, 0, 8).tolist() == GOLDEN_ORDER
    assert draw_bits(7, Purpose.AUGMENTATION, 3, 2).tolist() == GOLDEN_BITS


GOLDEN_ORDER = [2, 5, 0, 4, 3, 6, 7, 1]
GOLDEN_BITS = [12556226347673473054, 12010982669567619963]


@given(seed=seeds, low=st.integers(-20, 20), width=st.integers(0, 40))
def test_integers_stay_in_their_range(seed: int, low: int, width: int) -> None:
    drawn = bits_to_integers(draw_bits(seed, Purpose.ORDER, 0, 200), low, low + width)

    assert low <= drawn.min() <= drawn.max() <= low + width


def test_integers_are_spread_evenly() -> None:
    counts = np.bincount(bits_to_integers(draw_bits(0, Purpose.ORDER, 0, 50_000), 0, 4))

    assert counts.min() > 9_600
    assert counts.max() < 10_400


def test_ranks_draw_dropout_from_different_seeds() -> None:
    assert len({process_seed(0, rank) for rank in range(100)} | {process_seed(1, 0)}) == 101


@given(seed=seeds, steps=st.lists(st.integers(0, 10**9), min_size=1, max_size=8), processes=st.integers(1, 16))
def test_a_sample_is_changed_the_same_way_when_another_rank_holds_it_and_after_other_steps(
    seed: int, steps: list[int], processes: int
) -> None:
    augment = Augment(shift=3, flip=Flip.BOTH)
    whole = Draws(augment, seed=seed, samples=16).of_step(steps[-1])

    used = Draws(augment, seed=seed, samples=16)
    for step in steps:
        draws = used.of_step(step)
    parts = [draws[rows_of_rank(rank, processes, 16)] for rank in range(processes)]

    assert np.array_equal(np.concatenate(parts), whole)


def test_neighbouring_steps_and_other_seeds_change_samples_differently() -> None:
    draws = [Draws(Augment(shift=9), seed=seed, samples=16).of_step(step) for seed in (0, 1) for step in range(40)]

    assert len({drawn.tobytes() for drawn in draws}) == 80
