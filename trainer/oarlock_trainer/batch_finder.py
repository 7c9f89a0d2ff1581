"""The search for a micro-batch size: on a GPU the largest that fits, on the CPU the fastest. Pure: who tries is a parameter."""

from bisect import bisect_right
from collections.abc import Callable, Sequence

from oarlock_trainer.choice import Choice


def find_largest(fits: Callable[[int], bool | None], choices: Sequence[int]) -> Choice | None:
    """Return the largest number of rows that fits, by doubling, then bisection; None if `fits` breaks off.

    The smallest is taken to fit: training with less is impossible, and says so by itself. The curve holds 1 for what fits, else 0.

    Args:
        fits: whether so many rows fit; None: stop at once.
        choices: the numbers of rows, ascending.
    """
    tried: list[tuple[int, float]] = []
    good, bad = 0, len(choices)
    while bad - good > 1:
        doubled = max(good + 1, bisect_right(choices, 2 * choices[good]) - 1)
        at = doubled if bad == len(choices) else (good + bad) // 2
        fit = fits(choices[at])
        if fit is None:
            return None
        tried.append((choices[at], float(fit)))
        good, bad = (at, bad) if fit else (good, at)
    whole = bad == len(choices)
    why = "the whole share of a process fits" if whole else f"{choices[bad]} do not fit into the memory of the GPU"
    return Choice(value=choices[good], reason=f"microBatchSize {choices[good]} chosen: {why}", curve=tried)


def find_fastest(time_rows: Callable[[int], float | None], choices: Sequence[int]) -> Choice | None:
    """Return the number of rows with the least time for each sample; None if `time_rows` breaks off.

    Tried are the smallest, the largest, and for each power of two the one next to it from below. The curve holds the seconds for each sample.

    Args:
        time_rows: the seconds that so many rows take; None: stop at once.
        choices: the numbers of rows, ascending.
    """
    powers = (1 << power for power in range(choices[-1].bit_length()))
    places = {max(0, bisect_right(choices, power) - 1) for power in powers} | {len(choices) - 1}
    tried: list[tuple[int, float]] = []
    for rows in (choices[place] for place in sorted(places)):
        seconds = time_rows(rows)
        if seconds is None:
            return None
        tried.append((rows, seconds / rows))
    best, least = min(tried, key=lambda trial: trial[1])
    reason = f"microBatchSize {best} chosen: the fastest on the CPU, {least * 1e3:.3g} ms for each sample of a process"
    return Choice(value=best, reason=reason, curve=tried)
