"""What a step's time went on: laid on top of one another, and as finely as a log tells it."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oarlock_api.metrics import COMPUTING_PARTS
from oarlock_trainer.reports.charts import average, draw_chart, pile_up
from oarlock_trainer.reports.facts import Chart, Curve
from oarlock_trainer.reports.log_reading import Log, read_log
from oarlock_trainer.reports.step_times import build_step_chart, list_step_shares

COARSE = {"stepSeconds": 0.5, "dataWaitSeconds": 0.1, "computeSeconds": 0.4}
FINE = {**COARSE, **dict(zip(COMPUTING_PARTS, (0.05, 0.1, 0.2, 0.04, 0.01), strict=True))}


def log_of(folder: Path, *paces: dict[str, float]) -> Log:
    lines = [
        {"kind": "pace", "step": 10 * n, "epoch": float(n), "time": 100.0 + n, **p} for n, p in enumerate(paces, 1)
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return read_log(folder / "log.jsonl")


@pytest.mark.parametrize(
    ("paces", "shares", "curves"),
    [
        ([COARSE, COARSE], {"waiting for data": 2, "computing": 8}, ["waiting for data", "computing"]),
        ([{"stepSeconds": 0.5}], {"steps": 5}, ["all of it"]),
        (
            [COARSE, FINE],
            {"waiting for data": 2, "computing, not divided": 4, "preparing": 0.5, "forward": 1, "backward": 2,
             "optimizer": 0.4, "other": 0.1},
            ["waiting for data", "preparing", "forward", "backward", "optimizer", "other"],
        ),
    ],
    ids=["of a version before", "of a program", "whose first steps are not divided"],
)  # fmt: skip
def test_a_log_shows_as_much_of_a_step_as_it_tells(
    tmp_path: Path, paces: list[dict[str, float]], shares: dict[str, float], curves: list[str]
) -> None:
    log = log_of(tmp_path, *paces)
    chart = build_step_chart(log, "epoch")

    assert {s.name: pytest.approx(s.seconds) for s in list_step_shares(log) if s.seconds} == shares
    assert [curve.name for curve in chart.curves] == curves
    assert len({s.colour for s in list_step_shares(log) if s.seconds}) == len(shares)


LAYERS = st.integers(1, 300).flatmap(
    lambda length: st.lists(st.lists(st.floats(-1, 1e9), min_size=length, max_size=length), min_size=1, max_size=4)
)


@settings(max_examples=25)
@given(layers=LAYERS)
def test_layers_of_a_stack_end_where_their_sum_is_and_stay_on_the_paper(layers: list[list[float]]) -> None:
    curves = [average(list(enumerate(layer))) for layer in layers]
    edges = pile_up(curves)
    drawn = draw_chart(
        Chart(title="t", unit="s", stacked=True, curves=tuple(Curve(name="c", points=c) for c in curves))
    )
    places = [
        float(y) for path in re.findall(r'<polygon[^>]*points="([^"]*)"', drawn) for y in re.findall(r",(\S+)", path)
    ]

    sums = [sum(max(0.0, y) for _, y in column) for column in zip(*curves, strict=True)]
    assert [y for _, y in edges[-1]] == pytest.approx(sums)
    assert places
    assert all(0 <= place <= 250 for place in places)


def test_one_slow_step_leaves_the_others_their_height() -> None:
    points = [(0.0, 30.0), *((float(x), 0.2) for x in range(1, 40))]
    drawn = draw_chart(Chart(title="t", unit="s", stacked=True, curves=(Curve(name="forward", points=points),)))

    assert ">800 ms<" in drawn
    assert "30 s" in drawn, "the value under the pointer is the true one"
