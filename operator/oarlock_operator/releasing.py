"""Leaving a cluster: no operator will be there to take its finalizer from the Datasets that unfinished jobs hold.

The Lease is taken first, whoever holds it, and kept long enough for all operators to be removed: one that still wrote would
put back what is removed here.
"""

import asyncio
import logging
from datetime import UTC, datetime

from oarlock_operator.clock import Clock
from oarlock_operator.cluster.port import Cluster, ClusterError, ConflictError, NotFoundError
from oarlock_operator.errors import OperatorError
from oarlock_operator.leading import WRITE_SECONDS, build_lease
from oarlock_operator.leading_campaign import LeasePort
from oarlock_operator.names import IN_USE_FINALIZER
from oarlock_operator.reconcile.plans import Reference

_log = logging.getLogger(__name__)

HELD_SECONDS = 300
"""For so long no operator writes: should the chart stay installed nevertheless, one goes on after that."""
_ME = "release-finalizers"
_TRIES = 20
_PAUSE = 0.5


async def release_finalizers(cluster: Cluster, lease: LeasePort | None, *, namespace: str | None, clock: Clock) -> int:
    """Take the finalizer from all Datasets; return from how many.

    Args:
        cluster: where they are.
        lease: what operators need to write; None: there is none, and no operator must run any more.
        namespace: where to look; None: everywhere.
        clock: time.

    Raises:
        ClusterError, OperatorError.
    """
    if lease is not None:
        await _silence(lease, clock)
    datasets = await cluster.list("Dataset", namespace=namespace)
    held = [each["metadata"] for each in datasets if IN_USE_FINALIZER in (each["metadata"].get("finalizers") or ())]
    for metadata in held:
        reference = Reference(kind="Dataset", namespace=metadata["namespace"], name=metadata["name"])
        await _release(cluster, reference)
        _log.info("released Dataset %s/%s", reference.namespace, reference.name)
    return len(held)


async def _silence(lease: LeasePort, clock: Clock) -> None:
    """Take the Lease, and wait until who held it has stopped writing."""
    for _ in range(_TRIES):
        written = datetime.fromtimestamp(clock.now(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        before = await lease.read()
        wanted = build_lease(before, me=_ME, written=written, seconds=HELD_SECONDS)
        try:
            await (lease.replace(wanted) if before else lease.create(wanted))
        except ClusterError as error:
            _log.info("the Lease is taken in a moment: %s", error)
            await clock.sleep(_PAUSE)
        else:
            await clock.sleep(WRITE_SECONDS)
            return
    raise OperatorError("the Lease could not be taken from the operator; stop the operator, and try again")


async def _release(cluster: Cluster, reference: Reference) -> None:
    for _ in range(_TRIES):
        try:
            metadata = (await cluster.get(reference))["metadata"]
            kept = [each for each in metadata.get("finalizers") or () if each != IN_USE_FINALIZER]
            await cluster.write_finalizers(reference, resource_version=metadata["resourceVersion"], finalizers=kept)
        except NotFoundError:
            return
        except ConflictError:
            await asyncio.sleep(0)  # somebody else changed it meanwhile
        else:
            return
    raise OperatorError(f"Dataset {reference.namespace}/{reference.name} changes faster than it can be released")
