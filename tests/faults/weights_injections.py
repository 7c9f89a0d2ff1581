"""How a job meets an earlier one whose weights it cannot begin with: that one's status is written as its operator left it."""

from collections.abc import Callable
from functools import partial
from typing import Any

from faults.injection import Injection
from faults.stage import Object, Stage, run_and
from kube.scene import make_job

from oarlock_operator import names

_HELD = ["example.com/held"]
_SAVED = {"step": 90, "epoch": 2, "path": "checkpoints/step-000000090", "bytes": 9, "time": "2026-01-01T00:00:00Z"}
_BOUND = {"pv.kubernetes.io/bind-completed": "yes"}


def _begin_with(name: str, *, nodes: int = 1, job: str = "") -> Object:
    return {
        "model": {"name": "lenet", "initFrom": {"job": job or f"{name}-base"}},
        "workers": {"nodes": nodes, "gpusPerNode": 0, "processesPerNode": 1},
    }


def _apply_earlier(stage: Stage, name: str, *, finalizers: list[str] | None = None) -> str:
    """Apply the other job, which does not begin by itself; return its path."""
    jobs = f"/apis/oarlock.dev/v1alpha1/namespaces/{stage.scene.namespace}/trainingjobs"
    job = make_job(f"{name}-base", runPolicy={"suspend": True})
    stage.make(jobs, {**job, "metadata": {**job["metadata"], "finalizers": finalizers or []}})
    return f"{jobs}/{name}-base"


def _suspend_earlier(stage: Stage, name: str) -> None:
    _apply_earlier(stage, name)


def _delete_earlier(stage: Stage, name: str) -> None:
    stage.api.delete(_apply_earlier(stage, name, finalizers=_HELD))


def _finish_earlier(stage: Stage, name: str, *, has_checkpoint: bool = True) -> None:
    """Have the other job finished, with its checkpoints on a claim of its own."""
    claim = f"{name}-weights"
    status = {
        "phase": "Succeeded" if has_checkpoint else "Failed",
        "reason": "Finished" if has_checkpoint else "UserError",
        "completionTime": "2026-01-01T00:00:00Z",
        "run": {"checkpoints": {"claim": claim}},
        "checkpoint": {"claim": claim, **({"latest": _SAVED} if has_checkpoint else {})},
    }
    stage.api.patch(f"{_apply_earlier(stage, name)}/status", {"status": status})


def _make_claim(stage: Stage, name: str, *, mode: str = "ReadWriteMany", **fields: Any) -> None:
    labels = {names.MANAGED_BY_LABEL: names.MANAGED_BY, names.JOB_LABEL: f"{name}-base"}
    metadata = {"name": f"{name}-weights", "labels": labels, **fields.pop("metadata", {})}
    spec = {"accessModes": [mode], "resources": {"requests": {"storage": "1Gi"}}, **fields}
    stage.make(stage.path("persistentvolumeclaims"), {"metadata": metadata, "spec": spec})


def _delete_claim(stage: Stage, name: str) -> None:
    stage.api.delete(stage.path("persistentvolumeclaims", f"{name}-weights"))


def _leave(claim: Callable[[Stage, str], None]) -> Callable[[Stage, str], None]:
    """Have the other job finished, and its claim in some state."""

    def leave(stage: Stage, name: str) -> None:
        claim(stage, name)
        _finish_earlier(stage, name)

    return leave


def _make_leaving_claim(stage: Stage, name: str) -> None:
    _make_claim(stage, name, metadata={"finalizers": _HELD})
    _delete_claim(stage, name)


def _make_lost_claim(stage: Stage, name: str) -> None:
    """Make a claim that was bound to a volume which is not there, until the volume controller has noticed."""
    _make_claim(stage, name, volumeName="nowhere", metadata={"annotations": _BOUND})
    path = stage.path("persistentvolumeclaims", f"{name}-weights")
    stage.scene.wait_for(lambda: stage.api.get(path)["status"].get("phase") == "Lost", "the claim is not lost")


WEIGHTS: dict[str, Injection] = {
    "weights-of-nobody": Injection(job=_begin_with("weights-of-nobody")),
    "weights-of-itself": Injection(job=_begin_with("weights-of-itself", job="weights-of-itself")),
    "weights-unfinished": Injection(job=_begin_with("weights-unfinished"), before=_suspend_earlier),
    "weights-leaving": Injection(job=_begin_with("weights-leaving"), before=_delete_earlier),
    "weights-never-saved": Injection(
        job=_begin_with("weights-never-saved"), before=partial(_finish_earlier, has_checkpoint=False)
    ),
    "weights-claim-missing": Injection(job=_begin_with("weights-claim-missing"), before=_finish_earlier),
    "weights-claim-leaving": Injection(job=_begin_with("weights-claim-leaving"), before=_leave(_make_leaving_claim)),
    "weights-claim-lost": Injection(job=_begin_with("weights-claim-lost"), before=_leave(_make_lost_claim)),
    "weights-of-one-node": Injection(
        job=_begin_with("weights-of-one-node", nodes=2), before=_leave(partial(_make_claim, mode="ReadWriteOnce"))
    ),
    "weights-deleted": Injection(
        job=_begin_with("weights-deleted"),
        before=_leave(_make_claim),
        act=run_and(lambda stage, _pods: _delete_claim(stage, "weights-deleted")),
    ),
}


def release(stage: Stage) -> None:
    """Let go what was held, so that the namespace can end."""
    nothing = {"metadata": {"finalizers": None}}
    jobs = f"/apis/oarlock.dev/v1alpha1/namespaces/{stage.scene.namespace}/trainingjobs"
    stage.api.ask("PATCH", f"{jobs}/weights-leaving-base", nothing)
    stage.api.ask("PATCH", stage.path("persistentvolumeclaims", "weights-claim-leaving-weights"), nothing)
