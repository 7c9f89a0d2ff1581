"""`oarlock doctor` on evidence made by hand: what it says, shows and returns."""

import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from oarlock.cli.app import app
from oarlock.cli.consoles import make_console
from oarlock.cli.doctor import build_report, print_report
from oarlock.doctor.diagnosis import diagnose
from oarlock.doctor.evidence import Evidence
from oarlock.local.object_store import ObjectStore
from oarlock.local.runs_folder import RunsFolder
from oarlock_operator import names
from oarlock_operator.policy.times import format_time

NOW = time.time()
UID = "0a1b2c3d-0000-4000-8000-000000000001"


def make_job(**status: Any) -> dict[str, Any]:
    metadata = {"name": "lenet", "namespace": "default", "uid": UID, "creationTimestamp": format_time(NOW - 600)}
    spec = {"dataset": {"name": "digits"}, "model": {"name": "lenet"}}
    return {
        "apiVersion": "oarlock.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": metadata,
        "spec": spec,
        "status": status,
    }


def make_pod(**status: Any) -> dict[str, Any]:
    labels = {names.ATTEMPT_LABEL: "0", names.RANK_LABEL: "0", names.UID_LABEL: UID}
    owner = {"kind": "TrainingJob", "name": "lenet", "uid": UID, "controller": True}
    metadata = {
        "name": "lenet-0a1b2c3d-0-0",
        "namespace": "default",
        "uid": "p",
        "labels": labels,
        "ownerReferences": [owner],
    }
    spec = {"nodeName": "node-a", "containers": [{"name": names.TRAINER_CONTAINER, "image": "mine:1"}]}
    return {"kind": "Pod", "metadata": metadata, "spec": spec, "status": {"phase": "Pending", **status}}


def gather(job: dict[str, Any], **more: Any) -> Evidence:
    return Evidence(where="namespace default", job=job, now=NOW, **more)


def condition(kind: str, status: str, message: str) -> dict[str, str]:
    return {"type": kind, "status": status, "reason": "Why", "message": message, "lastTransitionTime": format_time(NOW)}


@pytest.mark.parametrize(
    ("status", "is_healthy", "says"),
    [
        ({}, False, "has not been looked at by an operator. Check that it runs"),
        ({"phase": "Training", "reason": "Training", "message": "attempt 0 on node a"}, True, "is Training: attempt 0"),
        ({"phase": "Succeeded", "reason": "Finished", "message": "trained"}, True, "is Succeeded (Finished)"),
        ({"phase": "Failed", "reason": "UserError", "message": "KeyError"}, False, "is Failed (UserError): KeyError"),
        ({"phase": "Invalid", "reason": "InvalidSpec", "message": "spec.x"}, False, "is Invalid"),
        ({"phase": "Starting", "reason": "Creating", "phaseSince": format_time(NOW - 10)}, True, "is Starting (Creating)"),
        ({"phase": "Starting", "reason": "Creating", "phaseSince": format_time(NOW - 900)}, False, "is Starting"),
        ({"phase": "Starting", "reason": "ImageNotFound", "phaseSince": format_time(NOW)}, False, "(ImageNotFound)"),
        ({"phase": "Training", "reason": "Stalled", "message": "rank 3 holds up"}, False, "rank 3 holds up"),
        ({"phase": "Training", "conditions": [condition("ClaimsUsable", "False", "claim x is Lost")]}, False, "claim x is Lost"),
        ({"phase": "Training", "conditions": [condition("Valid", "True", "")]}, True, "is Training"),
        ({"phase": "Queued", "reason": "Waiting", "message": "2nd in the queue"}, True, "2nd in the queue"),
        ({"phase": "Queued", "reason": "NoSuchNodes", "message": "never fits"}, False, "never fits"),
        ({"phase": "Queued", "reason": "QueuedByVolcano", "message": "held back"}, True, "held back"),
        ({"phase": "Queued", "reason": "SchedulerSilent", "message": "said nothing"}, False, "said nothing"),
    ],
)  # fmt: skip
def test_verdict_names_state_and_culprit(status: dict[str, Any], is_healthy: bool, says: str) -> None:  # noqa: FBT001
    verdict = diagnose(gather(make_job(**status)))

    assert verdict.is_healthy is is_healthy
    assert says in verdict.headline


def test_pods_are_looked_at_with_the_operators_eyes_when_the_status_is_behind() -> None:
    waiting = {"reason": "ErrImagePull", "message": "r.io/mine:1: not found"}
    pod = make_pod(containerStatuses=[{"name": names.TRAINER_CONTAINER, "state": {"waiting": waiting}}])
    job = make_job(phase="Starting", reason="Creating", phaseSince=format_time(NOW), attempt=0)

    verdict = diagnose(gather(job, pods=(pod,)))

    assert "on node node-a cannot pull image mine:1: the registry has no such image" in verdict.seen_now


def test_report_shows_the_evidence(capsys: pytest.CaptureFixture[str]) -> None:
    failure = {
        "attempt": 0,
        "cause": "OutOfMemory",
        "message": "pod x used more",
        "remedy": "raise the memory",
        "step": 7,
    }
    job = make_job(
        phase="Restarting", reason="OutOfMemory", message="pod x used more", phases={"Training": 90.0},
        phaseSince=format_time(NOW - 65), restarts={"OutOfMemory": 2}, failures=[failure],
        conditions=[condition("Valid", "True", "")], progress={"step": 5, "steps": 10, "percent": 50},
    )  # fmt: skip
    event = {
        "metadata": {"uid": "e"}, "type": "Warning", "reason": "FailedMount", "message": "no [disk]", "count": 3,
        "involvedObject": {"uid": "p", "name": "pod-x"}, "lastTimestamp": format_time(NOW - 120),
    }  # fmt: skip
    evidence = gather(job, pods=(make_pod(),), events=(event,), unread=("nodes: forbidden",))

    print_report(make_console(), evidence, diagnose(evidence))

    shown = capsys.readouterr().out
    for part in ("✗ TrainingJob lenet is Restarting", "for 1 min 5 s", "OutOfMemory 2", "Training 1 min 30 s", "step 5 of 10",
                 "→ raise the memory", "at step 7", "2 min ago", "no [disk] (3 times)", "nodes: forbidden"):  # fmt: skip
        assert part in shown, shown
    assert json.loads(json.dumps(build_report(evidence, diagnose(evidence))))["pods"][0]["node"] == "node-a"


@pytest.fixture
def runs(tmp_path: Path) -> RunsFolder:
    folder = RunsFolder(root=tmp_path / "runs")
    folder.prepare()
    store = ObjectStore(folder.store)
    store.put(make_job(phase="Succeeded", reason="Finished", message="trained 94 steps", completionTime="t"))
    store.put({**make_job(phase="Training"), "metadata": {**make_job()["metadata"], "name": "cut-off", "uid": "u2"}})
    store.close()
    return folder


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["doctor", *arguments])
    return result.exit_code, result.output


def test_local_run_is_found_in_its_folder(runs: RunsFolder) -> None:
    code, said = run("lenet", "--runs", str(runs.root))

    assert code == 0
    assert "✓ TrainingJob lenet is Succeeded (Finished): trained 94 steps" in said


def test_interrupted_local_run_needs_attention(runs: RunsFolder) -> None:
    code, said = run("cut-off", "--runs", str(runs.root), "-o", "json")

    assert code == 1
    assert "nobody works on it. Run it again" in json.loads(said)["verdict"]


def test_interrupted_local_run_counts_no_time_and_shows_no_process_that_is_gone() -> None:
    job = make_job(phase="Training", reason="Training", phaseSince=format_time(NOW - 600), phases={"Starting": 5.0})
    evidence = gather(job, pods=(make_pod(phase="Running"),), is_local=True, has_worker=False, folder="runs")

    shown = show(evidence)

    assert "interrupted in phase Training" in shown
    assert "Training, begun 10 min ago" in shown
    assert "time" in shown
    assert "Training 10 min" not in shown
    assert "its process is gone" in shown
    assert "oarlock logs lenet --runs runs" in shown


def show(evidence: Evidence, *, width: int = 80) -> str:
    """Return the report as it looks on a terminal."""
    screen = io.StringIO()
    console = Console(file=screen, width=width, force_terminal=True, color_system=None)
    print_report(console, evidence, diagnose(evidence))
    return screen.getvalue()


def test_suspended_local_run_says_how_to_go_on_here() -> None:
    message = "all pods are gone. Set spec.runPolicy.suspend to false to resume"
    job = make_job(phase="Suspended", reason="Suspended", message=message, checkpoint={"latest": {"step": 1947}})

    assert diagnose(gather(job, is_local=True)).headline == (
        "TrainingJob lenet is Suspended: step 1,947 is safe. Run it again to go on"
    )
    assert message in diagnose(gather(job)).headline


def test_nothing_is_said_twice_and_no_word_is_cut_on_a_narrow_terminal() -> None:
    said, remedy = "pod lenet-0 on node node-a: KeyError: 'colour'", "see the traceback; it will come again"
    message = f"{said}. Remedy: {remedy}"
    failure = {"cause": "UserError", "message": said, "remedy": remedy, "detail": "Traceback:\n  File x\nKeyError\n"}
    earlier = {"cause": "Evicted", "message": "pod lenet-1 was evicted", "remedy": "none"}
    event = {"metadata": {"uid": "e"}, "reason": "Failed", "message": message, "involvedObject": {"uid": "p"}}
    job = make_job(
        phase="Failed", reason="UserError", message=message, failures=[earlier, failure], completionTime="t",
        conditions=[{**condition("Failed", "True", message), "reason": "UserError"}],
    )  # fmt: skip

    shown = show(gather(job, pods=(make_pod(phase="Failed"),), events=(event,)))

    assert shown.count("colour") == 1
    assert shown.count("as above") == 2
    assert "attempt 0: UserError\n  Traceback:" in plain(shown)
    assert "  pod lenet-1 was evicted\n  → none" in plain(shown)
    assert "kubectl logs lenet-0a1b2c3d-0-0 -n default" in shown
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert set(message.split()) <= set(shown.split())


def plain(shown: str) -> str:
    return "\n".join(line.rstrip() for line in shown.splitlines())


def test_clock_of_a_node_that_is_wrong_needs_attention() -> None:
    wrong = condition("NodeClocksRight", "False", "the clock of node a is 3.0 hours ahead")

    verdict = diagnose(gather(make_job(phase="Training", conditions=[wrong])))

    assert not verdict.is_healthy
    assert "3.0 hours ahead" in verdict.headline


def test_name_of_a_dataset_leads_to_the_command_for_it(runs: RunsFolder) -> None:
    store = ObjectStore(runs.store)
    store.put({**make_job(), "kind": "Dataset", "metadata": {**make_job()["metadata"], "name": "digits", "uid": "d"}})
    store.close()

    code, said = run("digits", "--runs", str(runs.root))

    assert code == 1
    assert "digits is a Dataset: see `oarlock status digits" in said


def test_folder_of_runs_is_asked_for_when_there_is_neither_cluster_nor_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")

    _, said = run("lenet", "--runs", str(tmp_path / "nowhere"))

    assert "A run on this machine is found by its folder: --runs FOLDER" in " ".join(said.split())


def test_missing_job_is_named_with_those_that_there_are(runs: RunsFolder) -> None:
    code, said = run("lenat", "--local", "--runs", str(runs.root))

    assert code == 1
    assert "there is no TrainingJob lenat" in said.replace("\n", " ")
    assert "lenet" in said


def test_runs_of_this_folder_are_named_too_when_no_cluster_has_the_job(
    runs: RunsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")

    code, said = run("lenat", "--runs", str(runs.root))

    assert code == 1
    assert "lenat" in said
    assert "cut-off, lenet" in said
    assert "kubectl" in said


def test_failed_dataset_is_pointed_at_when_its_job_was_never_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    folder = RunsFolder(root=tmp_path / "runs")
    folder.prepare()
    store = ObjectStore(folder.store)
    store.put({**make_job(), "kind": "Dataset", "metadata": {**make_job()["metadata"], "name": "photos", "uid": "d"}})
    store.close()

    code, said = run("photos-resnet", "--runs", str(folder.root))

    assert code == 1
    assert "see `oarlock status photos --runs" in said.replace("\n", " ")


def test_missing_kubectl_is_said(runs: RunsFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")

    code, said = run("lenet", "-n", "team", "-o", "json")

    assert code == 1
    assert "kubectl is not installed" in json.loads(said)["verdict"]


def test_help_teaches_with_examples() -> None:
    _, said = run("--help")

    assert "kubectl oarlock doctor fashion-lenet -n team" in said
    assert "needs attention" in said
