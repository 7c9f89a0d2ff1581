"""`python -m oarlock_operator`: the operator as a process, in a pod or under a kubeconfig.

`python -m oarlock_operator release-finalizers` is what runs before the operator is removed.
"""

import asyncio
import logging
import socket
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

from oarlock_operator.clock import Clock, ServerClock
from oarlock_operator.cluster.connection import Connection
from oarlock_operator.cluster.definitions import check_definitions
from oarlock_operator.cluster.kubernetes_cluster import KubernetesCluster
from oarlock_operator.cluster.leases import KubernetesLease
from oarlock_operator.cluster.permissions import check_permissions
from oarlock_operator.cluster.port import ClusterError, UnavailableError
from oarlock_operator.controller import Controller
from oarlock_operator.errors import OperatorError, StartError
from oarlock_operator.handlers import run_event_source
from oarlock_operator.leading_campaign import Campaign
from oarlock_operator.manifests.pod_groups import find_group_scheduler
from oarlock_operator.metrics import Metrics
from oarlock_operator.probes import serve_probes
from oarlock_operator.prometheus_metrics import PrometheusMetrics
from oarlock_operator.releasing import release_finalizers
from oarlock_operator.settings import Settings

_log = logging.getLogger("oarlock_operator")

_PAUSE = 2.0


def main() -> None:
    """Run the operator until SIGTERM, or one of its errands; exit with 1 and one message if it cannot work here."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("kopf").setLevel(logging.WARNING)
    try:
        asyncio.run(_find_work(sys.argv[1:])(Settings.from_environment()))
    except (ValueError, OperatorError, ClusterError) as error:
        sys.exit(f"oarlock-operator: {error}")
    except KeyboardInterrupt:
        return


def _find_work(arguments: Sequence[str]) -> Callable[[Settings], Coroutine[Any, Any, None]]:
    match arguments:
        case []:
            return serve
        case ["release-finalizers"]:
            return leave
    raise ValueError(f"there is no command {' '.join(arguments)!r}; there are: none, to serve, and release-finalizers")


async def leave(settings: Settings) -> None:
    """Remove what would be in the way once no operator is there any more."""
    clock = ServerClock()
    connection = await Connection.open(clock=clock)
    cluster = KubernetesCluster(connection)
    try:
        lease = _find_lease(connection, settings)
        count = await release_finalizers(cluster, lease, namespace=settings.namespace or None, clock=clock)
        _log.info("released %d Datasets", count)
    finally:
        await cluster.close()


async def serve(settings: Settings) -> None:
    """Serve Datasets and TrainingJobs until a signal arrives.

    Raises:
        StartError: definitions or permissions are missing.
        ValueError: a setting makes no sense.
    """
    group_scheduler, metrics = find_group_scheduler(settings), PrometheusMetrics()
    metrics.serve(settings.metrics_port)
    clock = ServerClock()
    connection = await Connection.open(metrics=metrics, clock=clock)
    cluster = KubernetesCluster(connection, group_scheduler=group_scheduler)
    try:
        await _check(connection, settings)
        campaign = _build_campaign(connection, settings, clock, metrics)
        controller = Controller(cluster, settings, clock, metrics=metrics, leadership=campaign)
        async with serve_probes(controller, settings.probe_port, echo=campaign.echo if campaign else None):
            _log.info("serving %s on %s", settings.namespace or "all namespaces", connection.server)
            async with _campaigning(campaign, controller) as campaigning:
                await _run_until_one_ends(controller.run(), run_event_source(controller, settings), *campaigning)
    finally:
        await cluster.close()


def _build_campaign(connection: Connection, settings: Settings, clock: Clock, metrics: Metrics) -> Campaign | None:
    lease = _find_lease(connection, settings)
    if lease is None:
        return None
    # A container that is started again in the same pod is another operator.
    me = f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"
    return Campaign(lease, me=me, clock=clock, metrics=metrics)


def _find_lease(connection: Connection, settings: Settings) -> KubernetesLease | None:
    if not settings.lease_namespace:
        return None
    return KubernetesLease(connection, namespace=settings.lease_namespace, name=settings.lease_name)


@asynccontextmanager
async def _campaigning(
    campaign: Campaign | None, controller: Controller
) -> AsyncIterator[Sequence[Coroutine[Any, Any, None]]]:
    """Yield the endless works of a campaign; afterwards, when nothing writes any more, give the Lease back."""
    if campaign is None:
        yield ()
        return
    campaign.tell(gained=controller.take_over, lost=controller.step_down)
    try:
        yield campaign.run(), campaign.watch()
    finally:
        await campaign.release()


async def _check(connection: Connection, settings: Settings) -> None:
    """Check definitions and permissions as soon as the API server answers."""
    while True:
        try:
            await check_definitions(connection)
            await check_permissions(connection, settings)
        except UnavailableError as error:
            _log.warning("waiting for the API server: %s", error)
            await asyncio.sleep(max(_PAUSE, error.retry_after))
        else:
            return


async def _run_until_one_ends(*works: Coroutine[Any, Any, None]) -> None:
    """Run until the first of some endless tasks ends, as on a signal or an error, and stop the others."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    except ExceptionGroup as group:
        raise _first(group) from group
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _first(group: ExceptionGroup[Exception]) -> Exception:
    """Return what ended a group of tasks: a refusal of the cluster is for people to read."""
    error = group.exceptions[0]
    if isinstance(error, ExceptionGroup):
        return _first(error)
    return (
        StartError(f"the cluster refuses what the operator needs: {error}")
        if isinstance(error, ClusterError)
        else error
    )


if __name__ == "__main__":
    main()
