"""A local cluster at work: cluster, node and controller in one event loop, for as long as the `async with` block lasts.

The controller is the operator's own, so that what happens here is what happens on Kubernetes.
"""

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from oarlock.local.addresses import find_free_port
from oarlock.local.cluster import LocalCluster
from oarlock.local.local_node_port import LocalNodePort
from oarlock.local.machine import Machine
from oarlock.local.node import ProcessNode
from oarlock.local.retrying import put_off_import, reopen_job, take_up_import
from oarlock.local.runs_folder import RunsFolder
from oarlock_api.contract import DEFAULT_STATUS_PORT
from oarlock_api.v1alpha1.status import FINISHED_JOB_PHASES
from oarlock_operator.cluster.port import ClusterError, ConflictError
from oarlock_operator.controller import Controller
from oarlock_operator.names import data_folder
from oarlock_operator.reconcile.plans import Reference
from oarlock_operator.settings import Settings

Object = dict[str, Any]

IMAGE = "none"
"""Pods run programs of this machine; no image is pulled."""
_PULL_SECONDS = 0.5
_RETRY_SECONDS = 0.25


class LocalSession:
    """What can be done while the cluster is at work."""

    def __init__(self, runs: RunsFolder, cluster: LocalCluster, background: Sequence[asyncio.Task[None]]) -> None:
        self._runs, self._cluster = runs, cluster
        self._background = background

    def find(self, reference: Reference) -> Object | None:
        """Return an object as it is now; None if it is not there."""
        return self._cluster.find(reference)

    async def apply(self, manifest: Object) -> Object:
        """Create an object or change it, as `kubectl apply` does."""
        return await self._cluster.apply(manifest)

    async def set_suspended(self, job: Reference, *, suspended: bool) -> None:
        """Ask for a job to checkpoint and stop, or to go on."""
        known = await self._cluster.get(job)
        policy = {**known["spec"].get("runPolicy", {}), "suspend": suspended}
        await self._cluster.apply({**known, "spec": {**known["spec"], "runPolicy": policy}})

    async def retry(self, job: Reference) -> None:
        """Let a failed job be tried again, on the checkpoints that it has. There is nothing like it on Kubernetes."""
        await self._edit_status(job, reopen_job)

    async def take_up(self, dataset: Reference) -> None:
        """Let an unfinished import go on now."""
        await self._edit_status(dataset, take_up_import)

    async def stop_import(self, dataset: Reference) -> None:
        """Ask for an import to stop and to stay so; the operator removes its pods, as it does with those of attempts that are over."""
        await self._edit_status(dataset, lambda status: put_off_import(status, now=time.time()))

    async def has_pods(self, reference: Reference) -> bool:
        """Say whether pods of an object are there."""
        known = self.find(reference)
        return known is not None and bool(await self._find_dependents(known["metadata"]["uid"]))

    def find_run_folder(self, job: Object) -> Path | None:
        """Return the folder in which a job's pods write; None if there is none yet."""
        run, metadata = job.get("status", {}).get("run"), job["metadata"]
        if not run:
            return None
        claim = self._cluster.find_claim_folder(metadata["namespace"], run["checkpoints"]["claim"])
        return claim / str(metadata["uid"]) if claim else None

    async def _edit_status(self, reference: Reference, change: Callable[[Object], Object]) -> None:
        """Change a status that the operator may be writing too."""
        while True:
            known = await self._cluster.get(reference)
            version = known["metadata"]["resourceVersion"]
            with contextlib.suppress(ConflictError):
                await self._cluster.write_status(
                    reference, resource_version=version, status=change(known.get("status", {}))
                )
                return

    async def delete(self, reference: Reference) -> None:
        """Delete an object and wait until it and all that belonged to it are gone.

        Checkpoints and models stay; what a Dataset imported goes, since it can be imported again.
        """
        known = self.find(reference)
        if known is None:
            return
        uid = known["metadata"]["uid"]
        await self._cluster.delete(reference, uid=uid)
        while self.find(reference) is not None or await self._find_dependents(uid):
            await self.wait(_RETRY_SECONDS)
        if claim := known.get("status", {}).get("claim") if reference.kind == "Dataset" else None:
            imported = self._runs.claim(reference.namespace, claim) / data_folder(reference.name, uid)
            await asyncio.to_thread(shutil.rmtree, imported, ignore_errors=True)

    async def list_unfinished_jobs(self, dataset: Reference) -> list[str]:
        """Return the names of the jobs that still need a Dataset."""
        jobs = await self._cluster.list("TrainingJob", namespace=dataset.namespace)
        return [
            job["metadata"]["name"]
            for job in jobs
            if job["spec"].get("dataset", {}).get("name") == dataset.name
            and job.get("status", {}).get("phase") not in FINISHED_JOB_PHASES
        ]

    async def _find_dependents(self, uid: str) -> list[Object]:
        pods = await self._cluster.list("Pod")
        return [pod for pod in pods if any(o["uid"] == uid for o in pod["metadata"].get("ownerReferences", ()))]

    async def list_events(self, reference: Reference) -> list[Object]:
        """Return what happened to an object, the oldest first."""
        events = await self._cluster.list("Event", namespace=reference.namespace)
        own = [event for event in events if event["involvedObject"]["name"] == reference.name]
        return sorted(own, key=lambda event: int(event["metadata"]["resourceVersion"]))

    async def wait(self, seconds: float) -> None:
        """Let the cluster work.

        Raises:
            OSError: if the cluster cannot be written any more.
            Exception: whatever ended the node or the controller, which work as long as the session lasts.
        """
        if self._cluster.failure:
            raise self._cluster.failure
        done, _ = await asyncio.wait(self._background, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
            raise RuntimeError(f"{task.get_name()} ended")


@contextlib.asynccontextmanager
async def open_session(runs: RunsFolder, machine: Machine) -> AsyncIterator[LocalSession]:
    """Bring a local cluster to work; at the end of the block all its pods are ended at once.

    Jobs that were interrupted stay so until somebody resumes them.

    Raises:
        UnusableFolderError: if the folder cannot be made or written.
        StoreInUseError: if another process works with this folder.
        DamagedStoreError: if a file in it cannot be read.
        OSError: if the disk is full, or fails: all pods have ended then too.
    """
    runs.prepare()
    cluster = LocalCluster(runs.root, machine=machine)
    background: list[asyncio.Task[None]] = []
    try:
        await _hold_unfinished_jobs(cluster)
        background += _start(cluster, runs, machine)
        yield LocalSession(runs, cluster, background)
    except ClusterError as error:
        raise cluster.failure or error from None
    finally:
        # The controller first: it must not answer the end of the pods with new ones.
        for task in reversed(background):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task
        cluster.close()


def _start(cluster: LocalCluster, runs: RunsFolder, machine: Machine) -> list[asyncio.Task[None]]:
    """Start the node and the controller, in this order."""
    settings = build_settings(machine)
    node = ProcessNode(
        LocalNodePort(cluster),
        folder=runs.pods,
        logs=runs.logs,
        status_port=settings.status_port,
        devices=machine.gpus,
    )
    controller = Controller(cluster, settings, watch_custom_resources=True)
    return [
        asyncio.create_task(node.run(), name="the process node"),
        asyncio.create_task(controller.run(), name="the controller"),
    ]


async def _hold_unfinished_jobs(cluster: LocalCluster) -> None:
    """Suspend what an earlier session left running: this one may have come for something else."""
    for job in await cluster.list("TrainingJob"):
        policy = job["spec"].get("runPolicy", {})
        if job.get("status", {}).get("phase") not in FINISHED_JOB_PHASES and not policy.get("suspend"):
            await cluster.apply({**job, "spec": {**job["spec"], "runPolicy": {**policy, "suspend": True}}})


def build_settings(machine: Machine) -> Settings:
    """Return the operator's settings for one machine: everything is near, and nobody else is kept waiting."""
    return Settings(
        site="machine",
        queueing="off",  # a machine with one user needs no queue: pods wait for its GPUs
        trainer_image=IMAGE,
        default_gpus_per_node=len(machine.gpus),
        status_port=find_free_port(DEFAULT_STATUS_PORT),
        progress_min_seconds=_PULL_SECONDS,
        progress_max_seconds=_PULL_SECONDS,
        progress_write_seconds=_PULL_SECONDS,
        retry_delay_seconds=_RETRY_SECONDS,
        import_workers=machine.cpus,
        # Who runs this is the administrator of the machine, and none of these means anything on it.
        allowed_service_accounts="*",
        allowed_runtime_classes="*",
        allowed_annotations="*",
    )


def reference_of(manifest: Object) -> Reference:
    metadata = manifest["metadata"]
    return Reference(kind=manifest["kind"], namespace=metadata.get("namespace", "default"), name=metadata["name"])
