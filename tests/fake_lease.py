"""A Lease in memory that several operators ask for, each through a line of its own that may be dead."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

from oarlock_operator.cluster.port import AlreadyExistsError, ConflictError, NotFoundError, UnavailableError
from oarlock_operator.leading import Lease


@dataclass
class FakeServer:
    """Holds one Lease."""

    lease: Lease | None = None
    writes: int = 0
    watchers: list[asyncio.Queue[Lease | None]] = field(default_factory=list)

    def write(self, lease: Lease) -> Lease:
        self.writes += 1
        self.lease = replace(lease, version=str(self.writes))
        for watcher in self.watchers:
            watcher.put_nowait(self.lease)
        return self.lease


@dataclass
class FakeLine:
    """Implements `LeasePort`."""

    server: FakeServer
    is_dead: bool = False
    is_deaf: bool = False
    """Its watch brings nothing, and does not say so."""

    async def read(self) -> Lease | None:
        self._check()
        return self.server.lease

    async def create(self, lease: Lease) -> Lease:
        self._check()
        if self.server.lease:
            raise AlreadyExistsError("already exists", status=409)
        return self.server.write(lease)

    async def replace(self, lease: Lease) -> Lease:
        self._check()
        if self.server.lease is None:
            raise NotFoundError("not found", status=404)
        if self.server.lease.version != lease.version:
            raise ConflictError("the object has been modified", status=409)
        return self.server.write(lease)

    async def watch(self) -> AsyncIterator[Lease | None]:
        self._check()
        events: asyncio.Queue[Lease | None] = asyncio.Queue()
        self.server.watchers.append(events)
        yield self.server.lease
        while True:
            lease = await events.get()
            if not self.is_deaf:
                yield lease

    def _check(self) -> None:
        if self.is_dead:
            raise UnavailableError("the line is dead")
