"""Pods that find out whether there is room for one more worker: they are placed like one, and then do nothing. Pure."""

from collections.abc import Sequence

from oarlock_api.run import Run
from oarlock_api.v1alpha1.training_job import RunPolicy
from oarlock_operator import names
from oarlock_operator.manifests.metadata import Manifest, Owner
from oarlock_operator.manifests.scripts import build_agent_command
from oarlock_operator.manifests.workers import build_worker_pod

_GRACE_SECONDS = 5
_WAIT_FOR_SIGTERM = (
    "import signal as s; s.pthread_sigmask(s.SIG_BLOCK, [s.SIGTERM, s.SIGINT]); s.sigwait([s.SIGTERM, s.SIGINT])"
)
"""Process 1 is not ended by a signal that it does not wait for."""
_KEPT = ("name", "image", "imagePullPolicy", "resources", "securityContext")


def build_scout_pod(
    run: Run,
    *,
    owner: Owner,
    attempt: int,
    rank: int,
    policy: RunPolicy,
    excluded: Sequence[str] = (),
    mounts_first_weights: bool = True,
) -> Manifest:
    """Return a pod that goes where the worker of this rank would go, volumes and all, and takes its place."""
    alone = policy.model_copy(update={"queue": None})
    worker = build_worker_pod(
        run,
        owner=owner,
        attempt=attempt,
        rank=rank,
        nodes=rank + 1,
        policy=alone,
        excluded=excluded,
        mounts_first_weights=mounts_first_weights,
    )
    metadata, spec = worker["metadata"], worker["spec"]
    container = {key: value for key, value in spec["containers"][0].items() if key in _KEPT}
    labels = {**metadata["labels"], names.ROLE_LABEL: names.SCOUT_ROLE, names.COMPONENT_LABEL: names.SCOUT_ROLE}
    return {
        **worker,
        "metadata": {**metadata, "labels": labels},
        "spec": {
            **{key: value for key, value in spec.items() if key not in ("hostname", "subdomain", "initContainers")},
            "terminationGracePeriodSeconds": _GRACE_SECONDS,
            "containers": [{**container, "command": [build_agent_command(run)[0], "-c", _WAIT_FOR_SIGTERM]}],
        },
    }
