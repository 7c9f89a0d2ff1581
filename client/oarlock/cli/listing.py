"""`oarlock list` and `oarlock status`: what is in a runs folder, whether or not somebody works with it at this moment."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from oarlock.cli.live_screen import build_view
from oarlock.cli.summary import print_outcome, show_path
from oarlock.cli.views import view
from oarlock.cli.wording import count_of
from oarlock.local.object_store import find_owner
from oarlock.local.runs_folder import RunsFolder
from oarlock.running.inputs import list_known
from oarlock.running.outcomes import End, Outcome

Object = dict[str, Any]

_KINDS = ("Dataset", "TrainingJob")
_RESTING = frozenset({"Ready", "Succeeded", "Failed", "Invalid", "Suspended"})
_ENDS = {"Succeeded": End.SUCCEEDED, "Failed": End.FAILED, "Invalid": End.FAILED, "Suspended": End.SUSPENDED}


def list_objects(runs: RunsFolder) -> list[Object]:
    """Return the Datasets and jobs of a runs folder, the oldest first."""
    found = [item for item in list_known(runs) if item["kind"] in _KINDS]
    return sorted(found, key=lambda item: (item["metadata"]["creationTimestamp"], _KINDS.index(item["kind"])))


def show_phase(item: Object, *, owner: int | None) -> str:
    """Return the phase, or that the object was interrupted: nobody works on it."""
    phase = str(item.get("status", {}).get("phase", "Pending"))
    if phase in _RESTING or owner is not None:
        return phase
    return "Interrupted"


def print_table(console: Console, runs: RunsFolder) -> None:
    items, owner = list_objects(runs), find_owner(runs.store)
    if not items:
        console.print(f"There is nothing in {show_path(runs.root)} yet. Begin with: oarlock run FOLDER")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("KIND", "NAME", "PHASE", "PROGRESS", "RESULT", "CREATED"):
        table.add_column(title)
    for item in items:
        table.add_row(*map(escape, _build_row(item, owner)))
    console.print(table)
    if owner:
        console.print(f"[dim]Process {owner} works in {show_path(runs.root)}.[/]")


def _build_row(item: Object, owner: int | None) -> Iterator[str]:
    status = item.get("status", {})
    progress = status.get("progress") or {}
    yield item["kind"]
    yield item["metadata"]["name"]
    yield show_phase(item, owner=owner)
    yield f"{progress['percent']} %" if "percent" in progress else ""
    if item["kind"] == "Dataset":
        yield count_of(status.get("samples", 0), "sample") if status.get("version") else ""
    else:
        yield progress.get("metric", "")
    yield item["metadata"]["creationTimestamp"]


def print_status(console: Console, item: Object, runs: RunsFolder) -> None:
    """Print what there is to know about one object."""
    status = item.get("status", {})
    end = _ENDS.get(status.get("phase", ""))
    console.print(build_view(replace(view(item), phase=show_phase(item, owner=find_owner(runs.store)))))
    if end and item["kind"] == "TrainingJob":
        print_outcome(console, Outcome(end=end, object=item, seconds=sum(status.get("phases", {}).values())), runs)
    elif find_owner(runs.store) is None and status.get("phase") not in _RESTING:
        console.print("  [yellow]Interrupted: nobody works on it. Run it again to go on.[/]")
    for condition in status.get("conditions", ()):
        words = f"{condition['type']}={condition['status']} {condition['reason']}"
        said = f": {condition['message']}" if condition.get("message") else ""
        console.print(f"  [dim]{escape(words + said)}[/]", highlight=False, soft_wrap=True)
