"""Writes the report of a run's folder."""

from pathlib import Path

from oarlock_trainer.reports.page import build_page
from oarlock_trainer.reports.reading import read_facts


def write_report(run_dir: Path, target: Path, *, now: float, title: str = "") -> None:
    """Write the report of the run in `run_dir` to the file `target`, complete or not at all.

    Raises:
        OSError: if the folder cannot be read or the file cannot be written.
    """
    page = build_page(read_facts(run_dir, now=now, title=title))
    unfinished = target.with_name(target.name + ".partial")
    unfinished.write_text(page, encoding="utf-8")
    unfinished.replace(target)
