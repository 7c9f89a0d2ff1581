"""Runs manifests one after the other on a local session, follows each to its end, and stops when asked.

It decides nothing about training; it applies, watches and tells. What is shown goes through `Screen`.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

from oarlock.fit import fit_job, fit_run_policy
from oarlock.local.machine import Machine
from oarlock.local.session import LocalSession, reference_of
from oarlock.manifests.problems import ManifestsError, Problem
from oarlock.manifests.reading import Manifest
from oarlock.running.changes import ASKED_ANNOTATION, format_asked
from oarlock.running.interrupts import KILLING, StopRequests
from oarlock.running.outcomes import EXIT_CODES, EXIT_SUCCESS, End, Outcome
from oarlock.running.screen import Screen
from oarlock.running.telling import Teller
from oarlock_api.findings import Finding
from oarlock_operator.reconcile.plans import Reference

Object = dict[str, Any]

_GLANCE_SECONDS = 0.15
_THERE_AT_ONCE = frozenset({"PersistentVolumeClaim", "ConfigMap"})
_ENDED_WELL = frozenset({"Ready", "Succeeded"})
_ENDED_BADLY = frozenset({"Failed", "Invalid"})
_FINISHED = _ENDED_WELL | {"Failed"}
_STOPPING = (
    "Saving a checkpoint, then stopping. Press Ctrl-C twice more to kill it instead.",
    "Still waiting for the checkpoint. Press Ctrl-C once more to kill it: what was trained since the last one is lost.",
)
_STOPPING_IMPORT = (
    "Stopping the import. Press Ctrl-C twice more to kill it instead.",
    "Still waiting for the import to end. Press Ctrl-C once more to kill it.",
)


class Runner:
    """Brings objects to their ends."""

    def __init__(
        self,
        session: LocalSession,
        screen: Screen,
        stop: StopRequests,
        *,
        machine: Machine,
        nodes: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session, self._screen, self._stop = session, screen, stop
        self._machine, self._nodes, self._clock = machine, nodes, clock

    async def run(self, manifests: Sequence[Manifest]) -> list[Outcome]:
        """Run the manifests in the order given, up to the first that does not end well."""
        outcomes: list[Outcome] = []
        for manifest in manifests:
            if manifest.kind in _THERE_AT_ONCE:
                await self._session.apply(manifest.body)
                continue
            outcomes.append(await self._run_one(manifest))
            if EXIT_CODES[outcomes[-1].end] != EXIT_SUCCESS:
                break
        return outcomes

    async def clear(self, manifests: Sequence[Manifest]) -> None:
        """Delete what is there of the manifests, what depends on others first. Checkpoints and models stay.

        Raises:
            ManifestsError: if a job that is not among the manifests still needs one of their Datasets.
        """
        problems = [problem for manifest in manifests for problem in await self._find_holders(manifest, manifests)]
        if problems:
            raise ManifestsError(problems)
        for manifest in reversed(manifests):
            if manifest.kind in _THERE_AT_ONCE:
                continue
            reference = reference_of(manifest.body)
            known = self._session.find(reference)
            folder = self._session.find_run_folder(known) if known and manifest.kind == "TrainingJob" else None
            await self._session.delete(reference)
            if folder and folder.is_dir():
                self._screen.note(f"the results of {manifest.name} before are in {folder}")

    async def _find_holders(self, manifest: Manifest, manifests: Sequence[Manifest]) -> list[Problem]:
        if manifest.kind != "Dataset":
            return []
        ours = {each.name for each in manifests if each.kind == "TrainingJob" and each.namespace == manifest.namespace}
        holders = set(await self._session.list_unfinished_jobs(reference_of(manifest.body))) - ours
        if not holders:
            return []
        finding = Finding(
            path="metadata.name",
            rule="must name a Dataset that no other unfinished job needs, to begin anew",
            found=f"{manifest.name}, which {', '.join(sorted(holders))} trains on",
            remedy="finish that job first, or give this Dataset another name",
        )
        return [Problem(place=manifest.place_of("metadata.name"), finding=finding)]

    async def _run_one(self, manifest: Manifest) -> Outcome:
        began = self._clock()
        reference = reference_of(manifest.body)
        known = self._session.find(reference)
        if known and _find_phase(known) in _ENDED_WELL:
            self._screen.show(known)
            self._screen.settle()
            return Outcome(end=End.ALREADY, object=known, seconds=0.0)
        if known and _is_failed_import(known):
            self._screen.note(f"the import of {manifest.name} failed before and is tried again")
            await self._session.delete(reference)
        teller = Teller(self._screen, manifest.name, since=time.time())
        await self._session.apply(self._build(manifest, known))
        await self._take_up(manifest, known)
        end = await self._follow(reference, teller)
        self._screen.settle()
        seconds = self._clock() - began
        return Outcome(end=end, object=self._require(reference), seconds=seconds, warnings=tuple(teller.warnings))

    async def _take_up(self, manifest: Manifest, known: Object | None) -> None:
        """Let go on what was left, once it is applied: a failed job, an import that was stopped.

        Only the trainer knows which checkpoint is whole, and so where it really goes on: it says so itself.
        """
        reference = reference_of(manifest.body)
        if manifest.kind == "Dataset":
            await self._take_up_import(reference)
            return
        dataset = manifest.body["spec"].get("dataset", {}).get("name", "")
        await self._take_up_import(Reference(kind="Dataset", namespace=manifest.namespace, name=dataset))
        if known is None:
            return
        has_failed, step = _find_phase(known) == "Failed", _find_safe_step(known)
        if has_failed:
            cause = known["status"].get("reason", "an error")
            self._screen.note(f"{manifest.name} failed before ({cause}) and is tried again")
            await self._session.retry(reference)
        if step:
            self._screen.note(f"the last checkpoint of {manifest.name} is that of step {step:,}")
        elif has_failed:
            self._screen.note(f"{manifest.name} has no checkpoint yet: it is trained from the beginning")

    async def _take_up_import(self, dataset: Reference) -> None:
        known = self._session.find(dataset)
        if known and _find_phase(known) not in _FINISHED and known.get("status", {}).get("retryAfter"):
            await self._session.take_up(dataset)

    def _build(self, manifest: Manifest, known: Object | None) -> Object:
        """Return what to apply: a job goes on with the workers that it was accepted with, and is never suspended."""
        if manifest.kind != "TrainingJob":
            return manifest.body
        asked = format_asked(manifest.body)
        if known and known.get("status", {}).get("run"):
            policy = fit_run_policy(manifest.body["spec"].get("runPolicy", {}))
            body = {**manifest.body, "spec": {**known["spec"], "runPolicy": policy}}
        else:
            fitted = fit_job(manifest.body, self._machine, nodes=self._nodes)
            body = fitted.body
            for change in fitted.changes:
                self._screen.note(f"fitted {manifest.name} to this machine: {change}")
        policy = {**body["spec"].get("runPolicy", {}), "suspend": False}
        annotations = {**body["metadata"].get("annotations", {}), ASKED_ANNOTATION: asked}
        return {
            **body,
            "metadata": {**body["metadata"], "annotations": annotations},
            "spec": {**body["spec"], "runPolicy": policy},
        }

    async def _follow(self, reference: Reference, teller: Teller) -> End:
        heard = 0
        while True:
            item = self._require(reference)
            self._screen.show(item)
            teller.tell(item, self._session.find_run_folder(item) if item["kind"] == "TrainingJob" else None)
            if end := _find_end(item):
                return end
            if self._stop.count > heard:
                heard = self._stop.count
                if end := await self._answer(reference, heard):
                    return end
            if heard and await self._has_stopped(item):
                return End.SUSPENDED
            await self._session.wait(_GLANCE_SECONDS)

    async def _answer(self, reference: Reference, requests: int) -> End | None:
        """Do what a request to stop asks for: a job makes a checkpoint, an import ends and stays away."""
        if requests >= KILLING:
            return End.KILLED
        is_job = reference.kind == "TrainingJob"
        if is_job or await self._session.has_pods(reference):
            self._screen.note((_STOPPING if is_job else _STOPPING_IMPORT)[requests - 1])
        if requests == 1 and is_job:
            await self._session.set_suspended(reference, suspended=True)
        elif requests == 1:
            await self._session.stop_import(reference)
        return None

    async def _has_stopped(self, item: Object) -> bool:
        if item["kind"] == "TrainingJob":
            return _is_suspended(item)
        return not await self._session.has_pods(reference_of(item))

    def _require(self, reference: Reference) -> Object:
        item = self._session.find(reference)
        if item is None:
            raise RuntimeError(f"{reference.kind} {reference.name} was deleted while it ran")
        return item


def _find_phase(known: Object) -> str:
    return str(known.get("status", {}).get("phase") or "")


def _find_safe_step(known: Object) -> int | None:
    """Return the step of the last checkpoint that a job has reported."""
    latest = (known.get("status", {}).get("checkpoint") or {}).get("latest") or {}
    return latest.get("step")


def _is_failed_import(known: Object) -> bool:
    return known["kind"] == "Dataset" and _find_phase(known) == "Failed"


def _find_end(item: Object) -> End | None:
    """Return how an object ended; None while it goes on, or while its status speaks of an older spec."""
    status = item.get("status", {})
    phase = status.get("phase")
    if phase in _ENDED_WELL:
        return End.SUCCEEDED
    stale = status.get("observedGeneration") not in (None, item["metadata"]["generation"])
    return End.FAILED if phase in _ENDED_BADLY and not stale else None


def _is_suspended(item: Object) -> bool:
    status = item.get("status", {})
    conditions = {condition["type"]: condition["status"] for condition in status.get("conditions", ())}
    return bool(item["spec"].get("runPolicy", {}).get("suspend")) and conditions.get("Suspended") == "True"
