"""`oarlock run`: trains on this machine what manifests, or a folder of images, ask for."""

import asyncio
import importlib.util
import json
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.markup import escape
from rich.syntax import Syntax

from oarlock.cli.consoles import make_console
from oarlock.cli.dry_run import Resolved, mark_undecided, resolve_job
from oarlock.cli.live_screen import LiveScreen
from oarlock.cli.plain_screen import PlainScreen
from oarlock.cli.problems import build_problems, print_problems
from oarlock.cli.rate_curve import draw_learning_rate
from oarlock.cli.report import build_report
from oarlock.cli.summary import print_outcome
from oarlock.infer import UnsuitableFolderError
from oarlock.local.devices import find_gpus
from oarlock.local.full_disks import is_full, is_of_disk
from oarlock.local.machine import Machine, observe_machine
from oarlock.local.object_store import DamagedStoreError, StoreInUseError
from oarlock.local.runs_folder import RunsFolder, UnusableFolderError
from oarlock.local.session import LocalSession, open_session, reference_of
from oarlock.manifests.overrides import OverrideError, parse_override
from oarlock.manifests.problems import ManifestsError, Problem
from oarlock.manifests.reading import Manifest
from oarlock.running.changes import find_change
from oarlock.running.inputs import list_known, read_inputs
from oarlock.running.interrupts import StopRequests
from oarlock.running.outcomes import EXIT_FAILED, EXIT_INVALID, EXIT_SUCCESS, Outcome, find_exit_code
from oarlock.running.runner import Runner

_NEEDED = ("torch", "numpy", "pyarrow", "PIL", "safetensors")
"""Modules that training needs and a plain installation of Oarlock has not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What was asked for on the command line."""

    paths: tuple[Path, ...]
    runs: RunsFolder
    overrides: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()
    nodes: int | None = None
    dry_run: bool = False
    fresh: bool = False
    quiet: int = 0
    as_json: bool = False


def run(request: Request) -> int:
    """Do what was asked; return the exit code."""
    # With -o json, standard output is for the program that reads it.
    console = make_console(stderr=request.as_json)
    try:
        return _run(request, console)
    except (ManifestsError, OverrideError, UnsuitableFolderError, UnusableFolderError) as error:
        return _refuse(request, error, EXIT_INVALID)
    except StoreInUseError as error:
        return _refuse(
            request, _HinderedError(f"{error}. Wait for it, or work in another folder with --runs"), EXIT_FAILED
        )
    except (DamagedStoreError, _HinderedError) as error:
        return _refuse(request, error, EXIT_FAILED)
    except OSError as error:
        if not is_of_disk(error):
            raise
        return _refuse(request, _HinderedError(_describe_disk(request.runs, error)), EXIT_FAILED)


class _HinderedError(Exception):
    """Why nothing can be trained here and now."""


def _describe_disk(runs: RunsFolder, error: OSError) -> str:
    """Say why nothing can be written, and what to do."""
    folder, why = runs.root.absolute(), error.strerror
    end = "Everything was stopped; the same command goes on from the last checkpoint"
    if is_full(error):
        return f"the disk that holds {folder} is full ({why}). Make room on it. {end}"
    return f"{folder} cannot be written ({why}). See to its disk and permissions. {end}"


def _refuse(request: Request, error: Exception, exit_code: int) -> int:
    """Say what is wrong, to people and to the program that asked for JSON; return the exit code."""
    console = make_console(stderr=True)
    if isinstance(error, ManifestsError):
        print_problems(console, error)
    else:
        console.print(f"[red]{escape(str(error))}[/]", highlight=False)
    if request.as_json:
        sys.stdout.write(json.dumps(build_problems(error, exit_code=exit_code), indent=2) + "\n")
    return exit_code


def _run(request: Request, console: Console) -> int:
    manifests = read_inputs(
        request.paths,
        runs=request.runs,
        overrides=[parse_override(text) for text in request.overrides],
        claims=request.claims,
        fresh=request.fresh,
        save=not request.dry_run,
        tell=lambda text: _tell(console, text) if request.quiet < 1 else None,
    )
    machine = observe_machine(find_gpus())
    if request.dry_run:
        _print_resolved(request, console, manifests, machine)
        return EXIT_SUCCESS
    if missing := _find_unready():
        raise _HinderedError(missing)
    outcomes = asyncio.run(_train(request, console, manifests, machine))
    _print_results(request, console, outcomes)
    return find_exit_code(outcomes)


def _tell(console: Console, text: str) -> None:
    if "\n" in text and console.is_terminal:
        console.print(Syntax(text, "yaml", background_color="default"))
    else:
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def _find_unready() -> str:
    """Return why nothing can be trained here; empty if it can."""
    if sys.platform != "linux":
        return f"oarlock run needs Linux, this is {sys.platform}: run it in a container or on a cluster"
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        return f"training needs {', '.join(missing)}: pip install 'oarlock[trainer]'"
    return ""


async def _train(request: Request, console: Console, manifests: list[Manifest], machine: Machine) -> list[Outcome]:
    # What the controller warns of while it tries again is not for people here: what lasts ends the run with a message.
    logging.getLogger("oarlock_operator").setLevel(logging.ERROR)
    stop = StopRequests()
    with stop.listen():
        async with open_session(request.runs, machine) as session:
            _refuse_changes(session, manifests, fresh=request.fresh)
            with _make_screen(request, console) as screen:
                runner = Runner(session, screen, stop, machine=machine, nodes=request.nodes)
                if request.fresh:
                    await runner.clear(manifests)
                return await runner.run(manifests)


def _make_screen(request: Request, console: Console) -> LiveScreen | PlainScreen:
    if console.is_terminal and not request.quiet and os.environ.get("TERM") != "dumb":
        return LiveScreen(console)
    return PlainScreen(console, quiet=request.quiet)


def _refuse_changes(session: LocalSession, manifests: Sequence[Manifest], *, fresh: bool) -> None:
    """Refuse manifests that differ from what was accepted from them before, unless all begins anew."""
    problems = []
    for manifest in manifests:
        known = session.find(reference_of(manifest.body))
        change = find_change(known, manifest.body) if known else None
        if change and not (fresh and manifest.kind != "PersistentVolumeClaim"):
            problems.append(Problem(place=manifest.place_of(change.path), finding=change))
    if problems:
        raise ManifestsError(problems)


def _print_results(request: Request, console: Console, outcomes: list[Outcome]) -> None:
    if request.as_json:
        sys.stdout.write(json.dumps(build_report(outcomes, request.runs), indent=2) + "\n")
    if request.quiet > 1 and find_exit_code(outcomes) == EXIT_SUCCESS:
        return
    for outcome in outcomes:
        print_outcome(console, outcome, request.runs)


def _print_resolved(request: Request, console: Console, manifests: Sequence[Manifest], machine: Machine) -> None:
    described = {
        (manifest.namespace, manifest.name): manifest.body for manifest in manifests if manifest.kind == "Dataset"
    }
    datasets = described | {
        (item["metadata"]["namespace"], item["metadata"]["name"]): item
        for item in list_known(request.runs)
        if item["kind"] == "Dataset"
    }
    jobs = [
        resolve_job(
            manifest,
            dataset=datasets.get((manifest.namespace, manifest.body["spec"].get("dataset", {}).get("name", ""))),
            machine=machine,
            nodes=request.nodes,
        )
        for manifest in manifests
        if manifest.kind == "TrainingJob"
    ]
    if request.as_json:
        sys.stdout.write(json.dumps([_describe_resolved(job) for job in jobs], indent=2) + "\n")
        return
    for job in jobs:
        _print_job(console, job)
    if not jobs:
        console.print("There is no TrainingJob among the manifests; the Datasets are valid.")


def _describe_resolved(job: Resolved) -> dict[str, Any]:
    return {"name": job.name, "run": job.run, "undecided": list(job.undecided), "fitted": list(job.changes)}


def _print_job(console: Console, job: Resolved) -> None:
    lines = [f"# {job.name} as it would run on this machine; nothing was created."]
    lines += [f"# fitted: {change}" for change in job.changes]
    text = yaml.safe_dump(mark_undecided(job.run, job.undecided), sort_keys=False, allow_unicode=True)
    _tell(console, "\n".join([*lines, text]))
    if "recipe" in job.run and not console.options.ascii_only:
        # As comments, so that all of it is YAML still.
        for line in draw_learning_rate(job.run["recipe"]):
            console.print(f"# {line}", highlight=False)
