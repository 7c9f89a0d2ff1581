"""The search for a micro-batch size: on a GPU the largest that fits, on the CPU the fastest. Pure: who tries is a parameter."""

from collections.abc import Callable

from oarlock_trainer.choice import Choice


def find_largest(fits: Callable[[int], bool | None], *, limit: int) -> Choice | None:
    """Return the largest number of rows up to `limit` that fits, by doubling, then bisection; None if `fits` breaks off.

    One row is taken to fit: training with less is impossible, and says so by itself. The curve holds 1 for what fits, else 0.
    """
    tried: list[tuple[int, float]] = []
    good, bad, rows = 1, limit + 1, min(2, limit)
    while bad - good > 1:
        fit = fits(rows)
        if fit is None:
            return None
        tried.append((rows, float(fit)))
        good, bad = (rows, bad) if fit else (good, rows)
        rows = min(2 * good, limit) if bad > limit else (good + bad) // 2
    why = "the whole share of a process fits" if good == limit else f"{good + 1} do not fit into the memory of the GPU"
    return Choice(value=good, reason=f"microBatchSize {good} chosen: {why}", curve=tried)


def find_fastest(time_rows: Callable[[int], float | None], *, limit: int) -> Choice | None:
    """Return the power of two up to `limit`, or `limit` itself, with the least time for each sample; None if it breaks off.

    The curve holds the seconds for each sample.

    Args:
        time_rows: the seconds that so many rows take; None: stop at once.
        limit: the most rows to try.
    """
    candidates = sorted({min(limit, 1 << power) for power in range(limit.bit_length() + 1)})
    tried: list[tuple[int, float]] = []
    for rows in candidates:
        seconds = time_rows(rows)
        if seconds is None:
            return None
        tried.append((rows, seconds / rows))
    best, least = min(tried, key=lambda trial: trial[1])
    reason = f"microBatchSize {best} chosen: the fastest on the CPU, {least * 1e3:.3g} ms for each sample of a process"
    return Choice(value=best, reason=reason, curve=tried)
