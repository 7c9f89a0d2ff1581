"""Reads the evidence from a runs folder, whether or not somebody works with it at this moment."""

import time

from oarlock.doctor.evidence import Evidence, NoSuchJobError, Object, UnreadableError
from oarlock.local.object_store import find_owner
from oarlock.local.runs_folder import RunsFolder
from oarlock.running.inputs import list_known
from oarlock_operator import observing


def read_folder(name: str, runs: RunsFolder) -> Evidence:
    """Return what a runs folder says of a job.

    Raises:
        NoSuchJobError: naming those that there are.
        UnreadableError: that is the name of a Dataset.
        DamagedStoreError: a file in the folder is not what was written there.
    """
    known = list_known(runs)
    jobs = [item for item in known if item["kind"] == "TrainingJob"]
    job = next((item for item in jobs if item["metadata"]["name"] == name), None)
    if job is None:
        if name in (item["metadata"]["name"] for item in _of(known, "Dataset")):
            raise UnreadableError(f"{name} is a Dataset: see `oarlock status {name} --runs {runs.root}`")
        raise NoSuchJobError(name, f"runs folder {runs.root}", [item["metadata"]["name"] for item in jobs])
    uid, dataset = job["metadata"]["uid"], ((job.get("spec") or {}).get("dataset") or {}).get("name")
    pods = [item for item in known if item["kind"] == "Pod" and observing.owner_uid(item) == uid]
    claims = [item for item in _of(known, "PersistentVolumeClaim") if item["metadata"]["name"] in _claims_of(job)]
    about = {item["metadata"]["uid"] for item in (job, *pods, *claims)}
    return Evidence(
        where=f"runs folder {runs.root}",
        folder=str(runs.root),
        job=job,
        now=time.time(),
        dataset=next((item for item in _of(known, "Dataset") if item["metadata"]["name"] == dataset), None),
        pods=tuple(pods),
        claims=tuple(claims),
        events=tuple(event for event in _of(known, "Event") if (event.get("involvedObject") or {}).get("uid") in about),
        nodes=tuple(_of(known, "Node")),
        others=tuple(_of(known, "Pod")),
        is_local=True,
        has_worker=find_owner(runs.store) is not None,
    )


def _of(known: list[Object], kind: str) -> list[Object]:
    return [item for item in known if item["kind"] == kind]


def _claims_of(job: Object) -> frozenset[str]:
    return observing.find_claims(job)
