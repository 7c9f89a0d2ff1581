"""The report: everything is on it, nothing on it does harm, and a real browser shows it."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports.made_facts import HOSTILE, make_facts

from oarlock_trainer.reports.charts import draw_chart, find_ticks, smooth, thin
from oarlock_trainer.reports.facts import Chart, Curve, ReportFacts
from oarlock_trainer.reports.matrices import draw_matrix, list_confused
from oarlock_trainer.reports.page import build_page
from oarlock_trainer.reports.reading import find_best
from oarlock_trainer.reports.wording import say_figure, say_seconds, shorten_tree

SECTIONS = (
    "summary warnings curves confusion classes rates worst speed course recipe data system".split()  # noqa: SIM905  # reads as a list
)


class _Seen(HTMLParser):
    """Elements, ids and addresses of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        for name, value in attrs:
            assert not name.startswith("on")
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src", "xlink:href", "action"):
                self.addresses.append(value or "")


def test_a_report_has_every_section_and_reaches_for_nothing_outside() -> None:
    page = build_page(make_facts())
    seen = _Seen(page)

    assert [name for name in seen.ids if name != "tip"] == SECTIONS
    assert all(address.startswith(("#", "data:image/png;base64,")) for address in seen.addresses)
    assert not {"link", "iframe", "object", "embed", "base", "form"} & set(seen.elements)
    assert "url(" not in page
    assert "@import" not in page


def test_hostile_words_stay_words_wherever_they_come_from() -> None:
    page = build_page(make_facts())

    assert "<script>alert" not in page
    assert _Seen(page).elements.count("script") == 1
    assert page.count("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&#34;&#39;") >= 20


def test_a_report_of_a_run_that_has_hardly_begun_shows_what_there_is() -> None:
    page = build_page(ReportFacts(title="early", subtitle="", state="running"))

    assert _Seen(page).ids == ["summary", "course", "tip"]


@pytest.mark.parametrize("classes", [1, 2, 10, 100])
def test_a_matrix_of_any_size_has_each_cell_that_holds_something(classes: int) -> None:
    facts = make_facts(classes, name="class")
    assert facts.findings is not None
    matrix = facts.findings.confusion or []
    drawn = draw_matrix(matrix, facts.classes)

    assert drawn.count('<rect class="hit"') + drawn.count('<rect class="miss"') == sum(
        bool(v) for row in matrix for v in row
    )
    assert ("<title>" in drawn, "nan" in drawn) == (False, False)


def test_the_commonest_mistakes_come_first() -> None:
    assert list_confused([[5, 1, 2], [0, 9, 0], [3, 0, 3]], ["a", "b", "c"]) == [
        ("c", "a", 3, 0.5),
        ("a", "c", 2, 0.25),
        ("a", "b", 1, 0.125),
    ]


@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=40), st.sampled_from(["1", "ratio", "s", "bytes", "1/s"]))
def test_a_chart_of_any_values_stays_on_its_paper(values: list[float], unit: str) -> None:
    points = [(float(index), value) for index, value in enumerate(values)]
    drawn = draw_chart(Chart(title="t", unit=unit, curves=(Curve(name="c", points=points, marks=True),)))

    places = [float(part.split('"')[0]) for part in drawn.split('cy="')[1:]]
    assert len(places) == len(values)
    assert all(0 <= place <= 250 for place in places)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_axis_of_shares_stays_between_nothing_and_all_when_a_figure_never_moves(value: float) -> None:
    drawn = draw_chart(Chart(title="t", unit="ratio", curves=(Curve(name="c", points=[(0, value), (1, value)]),)))
    shares = [float(text) for text in re.findall(r">(-?[\d.]+) %<", drawn)]

    assert shares
    assert all(0 <= share <= 100 for share in shares)


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9))
def test_ticks_are_few_and_within_the_axis(low: float, length: float) -> None:
    high = low + max(length, abs(low) * 1e-6)
    ticks = find_ticks(low, high)

    assert 1 <= len(ticks) <= 12
    assert all(low - 1e-6 * (high - low) <= tick <= high + 1e-6 * (high - low) for tick in ticks)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=2000))
def test_thinning_and_smoothing_keep_within_what_was_measured(values: list[float]) -> None:
    points = [(float(index), value) for index, value in enumerate(values)]
    thinned = thin(points, 100)

    assert len(thinned) <= 100
    assert max(y for _, y in thinned) == max(values)
    assert min(y for _, y in thinned) == min(values)
    assert all(min(values) - 1e-3 <= y <= max(values) + 1e-3 for _, y in smooth(points))


def test_figures_read_as_people_say_them() -> None:
    assert [say_figure(0.9344, "ratio"), say_figure(1.0, "ratio"), say_figure(None)] == ["93.44 %", "100 %", "–"]  # noqa: RUF001
    assert [say_seconds(s) for s in (0, 2e-5, 0.012, 9.67, 761, 9000, 2e5)] == [
        "0 s", "20 µs", "12 ms", "9.67 s", "12 min 41 s", "2 h 30 min", "2 d 7 h",
    ]  # fmt: skip
    assert [say_figure(v, "bytes") for v in (512, 5_288_000)] == ["512 B", "5.04 MiB"]
    assert [say_figure(v) for v in (0.08563, 123456.0, 4.4e-08)] == ["0.08563", "123,456", "4.4e-8"]


def test_a_browser_shows_the_report_without_complaint(tmp_path: Path) -> None:
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("NOT RUN: there is no chromium here")
    page = tmp_path / "report.html"
    page.write_text(build_page(make_facts(10)).replace("</body>", "</body>"), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--log-level=0"]
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    shown = subprocess.run(
        [browser, *options, profile, "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )

    assert [line for line in shown.stderr.splitlines() if "CONSOLE" in line] == []
    assert [name for name in _Seen(shown.stdout).ids if name != "tip"] == SECTIONS
    assert HOSTILE not in shown.stdout


def test_names_are_joined_when_facts_are_nested_deeper_than_a_page_is_wide() -> None:
    source = {"package": {"name": "mlxtend", "path": "a/b"}, "none": {}}

    assert shorten_tree({"made": {"source": source, "seed": 0}, "mean": [1, 2]}) == {
        "made": {"source.package.name": "mlxtend", "source.package.path": "a/b", "source.none": {}, "seed": 0},
        "mean": [1, 2],
    }


@pytest.mark.parametrize(
    ("figures", "best"),
    [
        ([(0.5, 1.0), (0.9, 0.6), (0.9, 0.4), (0.9, 0.5)], 3),
        ([(0.5, 1.0), (0.9, None), (0.7, 0.4)], 3),
        ([(0.5, None), (0.9, None), (0.9, None)], 3),
    ],
    ids=["of equals the least loss", "without a loss it is no number", "no losses are told"],
)
def test_the_best_validation_is_the_one_that_training_takes(
    figures: list[tuple[float, float | None]], best: int
) -> None:
    lines = [
        {"step": step, "validation/accuracy": accuracy, **({} if loss is None else {"validation/loss": loss})}
        for step, (accuracy, loss) in enumerate(figures, 1)
    ]

    found = find_best(lines, "validation/accuracy")

    assert found is not None
    assert found["step"] == best
