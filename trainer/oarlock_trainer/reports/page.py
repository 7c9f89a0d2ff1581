"""From facts to the page: one HTML file that holds its style, its pictures and its small script. Pure but for the templates.

Everything is escaped where it is put in; the page's own policy forbids all scripts but its own, and every connection.
"""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from oarlock_api.metrics import METRICS_BY_NAME
from oarlock_trainer.reports import TRACE_VIEWER
from oarlock_trainer.reports.charts import choose_colour, draw_chart
from oarlock_trainer.reports.facts import Chart, Findings, ReportFacts, Share
from oarlock_trainer.reports.matrices import draw_matrix, list_confused
from oarlock_trainer.reports.timelines import draw_timeline
from oarlock_trainer.reports.wording import say_bytes, say_figure, say_number, say_time, shorten_tree

_COUNTS = frozenset({"support"})
"""Columns of the table of classes that are no shares of one."""
_SECTIONS = (
    ("warnings", "Warnings"),
    ("curves", "Learning curves"),
    ("confusion", "Confusion matrix"),
    ("classes", "Classes"),
    ("rates", "ROC and precision–recall"),  # noqa: RUF001  # a dash between two names
    ("worst", "Worst samples"),
    ("speed", "Speed"),
    ("course", "Course of the run"),
    ("recipe", "Recipe"),
    ("data", "Data set"),
    ("system", "System"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ClassRow:
    name: str
    values: list[tuple[float | None, float | None]]
    """The value, by which rows are sorted, and the length of its bar."""
    words: list[str]


def build_page(facts: ReportFacts) -> str:
    """Return the report as HTML."""
    script, findings = _read("page.js"), facts.findings
    parts = {
        "charts": _draw(facts.charts),
        "pace": _draw(facts.pace),
        "rates": _draw(findings.charts if findings else ()),
        "shares": _weigh(facts.shares),
    }
    matrix = findings.confusion if findings else None
    page = _environment().from_string(_read("page.html.jinja"))
    return page.render(
        facts=facts,
        findings=findings,
        sections=list(_list_sections(facts, parts)),
        columns=list(findings.per_class) if findings else [],
        class_rows=list(_list_classes(facts.classes, findings)) if findings else [],
        matrix=draw_matrix(matrix, facts.classes) if matrix else "",
        confused=list_confused(matrix, facts.classes) if matrix else [],
        timeline=draw_timeline(facts.attempts, facts.moments),
        style=Markup(_read("page.css")),  # noqa: S704  # our own file
        script=Markup(script),  # noqa: S704  # our own file
        viewer=TRACE_VIEWER,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        **parts,
    )


@cache
def _environment() -> Environment:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "shortened": shorten_tree,
        "ratio": lambda value: say_figure(value, "ratio"),
        "figure": say_number,
        "colour": choose_colour,
        "seconds": lambda value: say_figure(value, "s"),
        "bytes": say_bytes,
        "moment": say_time,
        "metric": lambda value, name: say_figure(value, METRICS_BY_NAME[name].unit if name in METRICS_BY_NAME else "1"),
        "column": lambda name: {
            "f1": "F1",
            "iou": "IoU",
            "dice": "Dice",
            "auc": "AUC",
            "averagePrecision50": "AP 50",
        }.get(name, name),
    }
    return environment


@cache
def _read(name: str) -> str:
    return files("oarlock_trainer.reports").joinpath(name).read_text(encoding="utf-8")


def _draw(charts: Sequence[Chart]) -> list[tuple[Chart, Markup]]:
    return [(chart, svg) for chart in charts if (svg := draw_chart(chart))]


def _weigh(shares: Sequence[Share]) -> list[tuple[Share, float]]:
    total = sum(share.seconds for share in shares)
    return [(share, share.seconds / total) for share in shares if total > 0 and share.seconds > 0]


def _list_sections(facts: ReportFacts, parts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    findings = facts.findings
    present = {
        "warnings": facts.warnings,
        "curves": parts["charts"],
        "confusion": findings and findings.confusion,
        "classes": findings and findings.per_class,
        "rates": parts["rates"],
        "worst": findings and findings.worst,
        "speed": parts["pace"] or parts["shares"] or facts.traces,
        "recipe": facts.recipe,
        "data": facts.dataset,
        "system": facts.system,
    }
    return ((key, name) for key, name in _SECTIONS if present.get(key, True))


def _list_classes(classes: Sequence[str], findings: Findings) -> Iterator[_ClassRow]:
    most = {name: max((value or 0.0 for value in column), default=0.0) for name, column in findings.per_class.items()}
    for index, name in enumerate(classes):
        values, words = [], []
        for column, all_values in findings.per_class.items():
            value, is_count = all_values[index], column in _COUNTS
            share = None if value is None else value / (most[column] or 1.0) if is_count else value
            values.append((value, None if share is None else min(1.0, max(0.0, share))))
            words.append(f"{value:,.0f}" if is_count and value is not None else say_figure(value, "ratio"))
        yield _ClassRow(name=name, values=values, words=words)
