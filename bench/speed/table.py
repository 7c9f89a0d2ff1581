"""The speed table: what each contender's clocks said, and how that compares with the bare loop. Pure."""

import statistics
from collections.abc import Iterator, Mapping

from speed.contenders import Figures
from speed.setup import Setup

BASELINE = "bare"


def compare(figures: Figures, baseline: Figures) -> list[float]:
    """Return how fast a contender was compared with the baseline, by wall time, turn by turn; 1: as fast."""
    return [bare / own for own, bare in zip(figures.wall, baseline.wall, strict=True)]


def describe_table(
    setup: Setup, results: Mapping[str, Figures | str], *, data_waits: Mapping[str, float | None]
) -> Iterator[str]:
    """Yield the lines of the table.

    Args:
        setup: what was trained.
        results: the figures of each contender, or why there are none.
        data_waits: seconds of a step that went on waiting for data, where known.
    """
    yield describe_setup(setup)
    yield f"{'':14}{'ms/step':>10}{'images/s':>11}{'to bare':>9}  {'middle half':<15}{'CPU ms':>8}{'  data wait'}"
    baseline = results[BASELINE]
    for name, figures in results.items():
        if isinstance(figures, str):
            yield f"{name:14}{figures}"
        elif isinstance(baseline, Figures):
            yield describe_row(name, figures, baseline, batch=setup.batch, data_wait=data_waits.get(name))


def describe_setup(setup: Setup) -> str:
    where = "GPU" if setup.gpu else "CPU"
    how = f"{'bf16' if setup.bf16 else 'fp32'}{', compiled' if setup.compiles else ''}"
    data = f"{setup.samples:,} samples of {setup.side}x{setup.side}x{setup.channels}"
    count = f"{setup.processes} process{'es' * (setup.processes > 1)} on {where}"
    return (
        f"{setup.model}, {how}, {count}, batch {setup.batch}, {data}, {setup.pairs} turns of {setup.stretch} steps each"
    )


def describe_row(name: str, figures: Figures, baseline: Figures, *, batch: int, data_wait: float | None) -> str:
    ratios = sorted(compare(figures, baseline))
    step, processor = statistics.median(figures.wall), statistics.median(figures.processor)
    middle = f"{ratios[len(ratios) // 4]:.3f} to {ratios[-1 - len(ratios) // 4]:.3f}"
    wait = "" if data_wait is None else f"{data_wait * 1e3:.3f} ms = {100 * data_wait / step:.1f} %"
    ratio = statistics.median(ratios)
    return f"{name:14}{step * 1e3:10.2f}{batch / step:11,.0f}{ratio:9.3f}  {middle:15}{processor * 1e3:8.1f}  {wait}"
