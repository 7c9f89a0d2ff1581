"""Creating many objects at once, and seeing when the last pod of each is there."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import aiohttp
from kube_node.raw_api import RawApi, RefusedRequestError

Object = dict[str, Any]

AT_ONCE = 32
"""Requests of the creator that are on the way at the same time."""
_PODS = "/api/v1/namespaces/{namespace}/pods"
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


@dataclass(frozen=True, kw_only=True)
class Burst:
    """What is created: `pods` of the objects of one group make it complete."""

    path: str
    groups: Mapping[str, Sequence[Object]]
    """Objects that count together, by the name of the group."""
    pods: int = 2
    follow: Callable[[RawApi, Object], Awaitable[None]] | None = None
    """What is asked for after each creation, where no controller does it."""


@dataclass
class Timeline:
    """When each group was asked for, and when its pods were seen, in seconds since 1970."""

    asked: dict[str, float] = field(default_factory=dict)
    seen: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def list_seconds(self) -> list[float]:
        """Seconds from the first request of each group to the sight of its last pod, sorted."""
        return sorted(max(times) - self.asked[name] for name, times in self.seen.items())

    @property
    def spread(self) -> float:
        """Seconds from the very first request to the very last pod."""
        return max(max(times) for times in self.seen.values()) - min(self.asked.values())

    @property
    def pods(self) -> int:
        return sum(map(len, self.seen.values()))


class PodWatch(RawApi):
    """Sees pods by their metadata alone, which costs the watcher little."""

    async def find_version(self, namespace: str) -> str:
        """Return the version of now: whoever follows from there misses nothing that comes after this answer."""
        listed = await self.ask("GET", _PODS.format(namespace=namespace), limit="1")
        return str(listed["metadata"]["resourceVersion"])

    async def follow(self, namespace: str, version: str) -> AsyncIterator[tuple[str, Object]]:
        query = {"watch": "true", "resourceVersion": version}
        async for event in self._stream(_PODS.format(namespace=namespace), query):
            yield event["type"], event["object"]

    async def _send(self, method: str, path: str, body: Any, query: Mapping[str, str]) -> Any:
        if "watch" not in query:
            return await super()._send(method, path, body, query)
        url = f"{self._client.configuration.host}{path}?{urlencode(query)}"
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
        headers = {"Accept": _METADATA}
        return await self._client.rest_client.request(method, url, headers=headers, _request_timeout=timeout)


async def run_burst(api: RawApi, watch: PodWatch, namespace: str, burst: Burst, *, patience: float) -> Timeline:
    """Create everything at once and wait for all pods.

    Raises:
        TimeoutError: the pods do not come.
        ConnectionError: the watch ended before.
    """
    timeline = Timeline()
    version = await watch.find_version(namespace)  # before the first object is there
    watching = asyncio.create_task(_see_pods(watch, namespace, version, burst, timeline))
    try:
        await asyncio.sleep(0.5)  # the watch stands: its start costs the burst nothing
        await _create_all(api, namespace, burst, timeline)
        async with asyncio.timeout(patience):
            await watching
    except TimeoutError:
        wanted = len(burst.groups) * burst.pods
        raise TimeoutError(f"{timeline.pods} of {wanted} pods were seen in {patience:.0f} s") from None
    finally:
        watching.cancel()
    return timeline


async def _see_pods(watch: PodWatch, namespace: str, version: str, burst: Burst, timeline: Timeline) -> None:
    groups = {item["metadata"]["name"]: name for name, items in burst.groups.items() for item in items}
    async for change, pod in watch.follow(namespace, version):
        owners = pod["metadata"].get("ownerReferences") or [{"name": ""}]
        group = groups.get(owners[0]["name"])
        if change == "ADDED" and group is not None:
            timeline.seen[group].append(time.time())
            if timeline.pods >= len(burst.groups) * burst.pods:
                return
    raise ConnectionError(f"the watch of pods ended when {timeline.pods} had been seen")


async def _create_all(api: RawApi, namespace: str, burst: Burst, timeline: Timeline) -> None:
    slots, slots_after = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(AT_ONCE)
    path = burst.path.format(namespace=namespace)

    async def create(group: str, item: Object) -> None:
        async with slots:
            timeline.asked.setdefault(group, time.time())
            try:
                made = await api.ask("POST", path, item)
            except RefusedRequestError as error:
                if error.status != 409:  # created by a request whose answer did not come in time
                    raise
                made = await api.ask("GET", f"{path}/{item['metadata']['name']}")
        if burst.follow:
            async with slots_after:
                await burst.follow(api, made)

    await asyncio.gather(*(create(group, item) for group, items in burst.groups.items() for item in items))
