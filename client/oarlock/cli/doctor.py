"""`oarlock doctor`: the verdict in one line, then the evidence for it."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from oarlock.cli.consoles import make_console
from oarlock.cli.wording import count_of, format_duration
from oarlock.doctor.diagnosis import diagnose, explain_pod, observe_claims, observe_pods
from oarlock.doctor.evidence import Evidence, NoSuchJobError, UnreadableError, Verdict
from oarlock.doctor.kubectl_reading import Place, read_cluster
from oarlock.doctor.local_reading import read_folder
from oarlock.local.object_store import DamagedStoreError
from oarlock.local.runs_folder import RunsFolder
from oarlock.running.inputs import list_known
from oarlock_operator.policy.times import parse_time

EXIT_HEALTHY, EXIT_ATTENTION = 0, 1
_MOST_EVENTS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What was asked for on the command line."""

    name: str
    place: Place
    runs: RunsFolder
    is_local: bool
    as_json: bool


def doctor(request: Request) -> int:
    """Print what is wrong with a job; return the exit code."""
    try:
        evidence = _read(request)
    except (NoSuchJobError, UnreadableError, DamagedStoreError) as error:
        if request.as_json:
            print(json.dumps({"healthy": False, "verdict": str(error)}))  # noqa: T201  # a result
        else:
            make_console(stderr=True).print(f"[red]✗[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        return EXIT_ATTENTION
    verdict = diagnose(evidence)
    if request.as_json:
        print(json.dumps(build_report(evidence, verdict), indent=2))  # noqa: T201  # a result
    else:
        print_report(make_console(), evidence, verdict)
    return EXIT_HEALTHY if verdict.is_healthy else EXIT_ATTENTION


def _read(request: Request) -> Evidence:
    """Read from where the job is: a runs folder that has it goes before a cluster that nobody named."""
    place, here = request.place, _list_names(request.runs, "TrainingJob")
    datasets = _list_names(request.runs, "Dataset")
    is_named = any((place.kubeconfig, place.context, place.namespace))
    is_here = request.name in (*here, *datasets)
    if request.is_local or (not is_named and is_here):
        return read_folder(request.name, request.runs)
    try:
        return read_cluster(request.name, place)
    except (NoSuchJobError, UnreadableError) as error:
        if is_named:
            raise
        if datasets and not here:
            raise UnreadableError(
                f"the runs folder {request.runs.root} has no job, and Dataset {datasets[0]}, whose import may be what failed:"
                f" see `oarlock status {datasets[0]} --runs {request.runs.root}`; and {error}"
            ) from None
        if not here:
            raise UnreadableError(f"{error}. A run on this machine is found by its folder: --runs FOLDER") from None
        # Who has runs in this folder may well have meant one of them.
        raise UnreadableError(
            f"{NoSuchJobError(request.name, f'runs folder {request.runs.root}', here)}; and {error}"
        ) from None


def _list_names(runs: RunsFolder, kind: str) -> list[str]:
    return [item["metadata"]["name"] for item in list_known(runs) if item["kind"] == kind]


def build_report(evidence: Evidence, verdict: Verdict) -> dict[str, Any]:
    """Return what `-o json` prints."""
    status = evidence.status
    return {
        "healthy": verdict.is_healthy,
        "verdict": verdict.headline,
        "seenNow": verdict.seen_now,
        "hazards": list(verdict.hazards),
        "job": evidence.name,
        "where": evidence.where,
        **{key: status.get(key) for key in _STATUS_KEYS},
        "pods": [
            {
                "name": pod.name,
                "attempt": pod.attempt,
                "rank": pod.rank,
                "node": pod.node,
                "phase": pod.phase,
                "why": explain_pod(pod),
            }
            for pod in observe_pods(evidence)
        ],
        "claims": [
            {"name": claim.name, "phase": claim.phase, "message": claim.message}
            for claim in observe_claims(evidence).values()
        ],
        "events": [
            {"time": _time_of(event), "reason": event.get("reason"), "message": event.get("message")}
            for event in evidence.events[-_MOST_EVENTS:]
        ],
        "unread": list(evidence.unread),
    }


_STATUS_KEYS = (
    "phase",
    "reason",
    "message",
    "phaseSince",
    "attempt",
    "progress",
    "checkpoint",
    "conditions",
    "failures",
    "restarts",
    "phases",
    "goodput",
)


def print_report(console: Console, evidence: Evidence, verdict: Verdict) -> None:
    """Print the verdict and the evidence."""
    mark = "[green]✓[/]" if verdict.is_healthy else "[red]✗[/]"
    # On a terminal lines end between words; elsewhere they are as long as they are, for whoever searches them.
    wraps = not console.is_terminal
    console.print(f"{mark} [bold]{escape(verdict.headline)}[/]", highlight=False, soft_wrap=wraps)
    if verdict.seen_now:
        console.print(f"  [yellow]now[/] {escape(verdict.seen_now)}", highlight=False, soft_wrap=wraps)
    sections: tuple[tuple[str, Callable[[Evidence], Iterator[tuple[str, ...]]]], ...] = (
        ("State", _describe_state),
        ("Conditions", partial(_describe_conditions, headline=verdict.headline)),
        ("Pods", _describe_pods),
        ("Claims", _describe_claims),
        ("Events", partial(_describe_events, headline=verdict.headline)),
        ("Not read", lambda each: ((text,) for text in each.unread)),
    )
    for title, describe in sections:
        _print_section(console, title, describe(evidence))
        if title == "Claims":
            _print_failures(console, evidence, headline=verdict.headline)


def _print_section(console: Console, title: str, rows: Iterable[tuple[str, ...]]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    found = list(rows)
    if not found:
        return
    for column in range(max(map(len, found))):
        table.add_column(style="dim" if column == 0 else "", overflow="fold", no_wrap=column == 0)
    for row in found:
        table.add_row(*(_paint(cell) for cell in row))
    console.print(f"\n[bold cyan]{title}[/]")
    console.print(table)


def _print_failures(console: Console, evidence: Evidence, *, headline: str) -> None:
    """Print each failure over the whole width: what it ends with, a traceback, is not for narrow columns."""
    failures = evidence.status.get("failures") or ()
    if failures:
        console.print("\n[bold cyan]Failures[/]")
    for failure in failures:
        console.print(escape(_title_failure(evidence, failure)), highlight=False)
        for line in _word_failure(failure, headline=headline):
            console.print(Padding(escape(line), (0, 0, 0, 2)), highlight=False)


_COLOURS = {"Failed": "red", "False": "red", "Lost": "red", "Running": "green", "True": "green", "Pending": "yellow"}


def _paint(cell: str) -> str:
    colour = _COLOURS.get(cell)
    return f"[{colour}]{escape(cell)}[/]" if colour else escape(cell)


def _describe_state(evidence: Evidence) -> Iterator[tuple[str, ...]]:
    status = evidence.status
    yield "where", evidence.where
    if status.get("phase"):
        reason = f" ({status['reason']})" if status.get("reason") not in (None, "", status["phase"]) else ""
        age = _since(evidence, status.get("phaseSince"), "begun" if evidence.is_deserted else "")
        yield "phase", f"{status['phase']}{reason}{age}"
    yield "attempt", str(status.get("attempt", 0))
    if progress := status.get("progress"):
        steps = f"step {progress.get('step', 0):,} of {progress.get('steps', 0):,}"
        yield (
            "progress",
            f"{steps}, {progress.get('percent', 0)} %{_since(evidence, progress.get('updated'), 'reported')}",
        )
    if latest := (status.get("checkpoint") or {}).get("latest"):
        yield "checkpoint", f"step {latest['step']:,} is safe{_since(evidence, latest.get('time'), 'saved')}"
    if restarts := status.get("restarts"):
        yield "restarts", ", ".join(f"{cause} {count}" for cause, count in sorted(restarts.items()))
    if spent := _sum_phases(evidence):
        yield "time", ", ".join(f"{phase} {format_duration(seconds)}" for phase, seconds in spent.items())
    if dataset := evidence.dataset:
        state = dataset.get("status") or {}
        yield "data", f"Dataset {dataset['metadata']['name']} is {state.get('phase', 'not looked at')}"
    if log := _name_log(evidence):
        yield "log", log


def _name_log(evidence: Evidence) -> str:
    """Return the command that shows what the job printed; empty if no pod is left to show it."""
    if evidence.is_local:
        return f"oarlock logs {evidence.name} --runs {evidence.folder}"
    pods = sorted(observe_pods(evidence), key=lambda pod: (-pod.attempt, pod.rank))
    shown = next((pod.name for pod in pods if pod.phase != "Pending"), "")
    namespace = evidence.job["metadata"]["namespace"]
    return f"kubectl logs {shown} -n {namespace}" if shown else ""


def _sum_phases(evidence: Evidence) -> dict[str, float]:
    """Return the seconds in each phase, with those of the phase that lasts."""
    status = evidence.status
    spent = dict(status.get("phases") or {})
    began, phase = parse_time(status.get("phaseSince")), status.get("phase")
    if began is not None and phase and not status.get("completionTime") and not evidence.is_deserted:
        spent[phase] = spent.get(phase, 0.0) + max(0.0, evidence.now - began)
    return spent


def _since(evidence: Evidence, time: str | None, what: str = "") -> str:
    then = parse_time(time)
    if then is None:
        return ""
    age = format_duration(max(0.0, evidence.now - then))
    return f", {what} {age} ago" if what else f" for {age}"


def _describe_conditions(evidence: Evidence, *, headline: str) -> Iterator[tuple[str, ...]]:
    for each in evidence.status.get("conditions") or ():
        age = _since(evidence, each.get("lastTransitionTime")).strip()
        yield each["type"], each["status"], age, each["reason"], _unless_said(each, headline)


def _unless_said(said: Mapping[str, Any], headline: str) -> str:
    """Return a message, unless the verdict has said it."""
    message = str(said.get("message") or "")
    return "as above" if message and message in headline else message


def _describe_pods(evidence: Evidence) -> Iterator[tuple[str, ...]]:
    for pod in sorted(observe_pods(evidence), key=lambda pod: (-pod.attempt, pod.rank)):
        is_gone = evidence.is_deserted and pod.phase not in ("Succeeded", "Failed")
        yield pod.name, pod.phase, pod.node or "no node", "its process is gone" if is_gone else explain_pod(pod)


def _describe_claims(evidence: Evidence) -> Iterator[tuple[str, ...]]:
    for claim in observe_claims(evidence).values():
        going = "is being deleted" if claim.deleting else ""
        yield claim.name, claim.phase, ", ".join(claim.access_modes), claim.message or going


def _title_failure(evidence: Evidence, failure: Mapping[str, Any]) -> str:
    step = f" at step {failure['step']:,}" if failure.get("step") is not None else ""
    ago = _since(evidence, failure.get("time"), "seen")
    return f"attempt {failure.get('attempt', 0)}: {failure.get('cause')}{step}{ago}"


def _word_failure(failure: Mapping[str, Any], *, headline: str) -> Iterator[str]:
    """Yield the lines about a failure, but for what the verdict has said already."""
    message, remedy = str(failure.get("message") or ""), str(failure.get("remedy") or "")
    if message and message not in headline:
        yield message
    if remedy and remedy not in headline:
        yield f"→ {remedy}"
    yield from str(failure.get("detail") or "").rstrip().splitlines()


def _describe_events(evidence: Evidence, *, headline: str) -> Iterator[tuple[str, ...]]:
    latest = {_topic_of(event): event for event in evidence.events}
    for event in sorted(latest.values(), key=_time_of)[-_MOST_EVENTS:]:
        about = event.get("involvedObject") or {}
        count = int(event.get("count") or 1)
        times = f" ({count_of(count, 'time')})" if count > 1 else ""
        yield (
            _since(evidence, _time_of(event)).removeprefix(" for ") + " ago",
            str(event.get("reason") or ""),
            str(about.get("name") or ""),
            f"{_unless_said(event, headline)}{times}",
        )


def _topic_of(event: Mapping[str, Any]) -> tuple[str, str]:
    """What an Event is about: of those about the same the last one is enough."""
    return str((event.get("involvedObject") or {}).get("uid")), str(event.get("reason"))


def _time_of(event: Mapping[str, Any]) -> str:
    metadata = event["metadata"]
    return str(event.get("lastTimestamp") or event.get("eventTime") or metadata.get("creationTimestamp") or "")
