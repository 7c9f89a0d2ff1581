"""The result of a run as JSON, for programs. Pure but for the paths it makes absolute."""

from typing import Any

from oarlock.cli.logs import find_output
from oarlock.cli.summary import locate
from oarlock.local.runs_folder import RunsFolder
from oarlock.running.outcomes import Outcome, find_exit_code


def build_report(outcomes: list[Outcome], runs: RunsFolder) -> dict[str, Any]:
    """Return what `-o json` prints."""
    return {"exitCode": find_exit_code(outcomes), "objects": [_build_entry(outcome, runs) for outcome in outcomes]}


def _build_entry(outcome: Outcome, runs: RunsFolder) -> dict[str, Any]:
    item = outcome.object
    status = item.get("status", {})
    entry = {
        "kind": item["kind"],
        "name": item["metadata"]["name"],
        "namespace": item["metadata"]["namespace"],
        "end": str(outcome.end),
        "phase": status.get("phase"),
        "reason": status.get("reason"),
        "message": status.get("message"),
        "seconds": round(outcome.seconds, 1),
        "progress": status.get("progress"),
        "restarts": status.get("restarts"),
        "warnings": list(dict.fromkeys([*outcome.warnings, *status.get("warnings", ())])),
        "failure": (status.get("failures") or [None])[-1],
        **(_build_paths(item, runs) if item["kind"] == "TrainingJob" else _build_data(status)),
    }
    return {key: value for key, value in entry.items() if value not in (None, "", {}, [])}


def _build_paths(job: dict[str, Any], runs: RunsFolder) -> dict[str, Any]:
    checkpoint = job.get("status", {}).get("checkpoint") or {}
    folder, output = runs.run_folder(job), find_output(job, runs)
    log = folder / "log.jsonl" if folder else None
    found = {
        "model": checkpoint.get("export"),
        "bestCheckpoint": (checkpoint.get("best") or {}).get("path"),
        "latestCheckpoint": (checkpoint.get("latest") or {}).get("path"),
    }
    paths = {name: str(locate(job, runs, path).resolve()) for name, path in found.items() if path}
    best = {"best": _describe_best(job)} if (checkpoint.get("best") or {}).get("metric") is not None else {}
    logs = {name: path for name, path in (("log", log), ("output", output)) if path and path.exists()}
    return {**paths, **best, **{name: str(path.resolve()) for name, path in logs.items()}}


def _describe_best(job: dict[str, Any]) -> dict[str, Any]:
    """Return where the best checkpoint is in the run, and what ranks it."""
    best = job["status"]["checkpoint"]["best"]
    metric = job["status"]["run"]["checkpoints"]["keepBest"]["metric"]
    return {"metric": metric, "value": best["metric"], "step": best["step"], "epoch": best["epoch"]}


def _build_data(status: dict[str, Any]) -> dict[str, Any]:
    return {
        name: status.get(name)
        for name in ("version", "samples", "counts", "classes", "sampleShape", "rejected", "firstRejects")
    }
