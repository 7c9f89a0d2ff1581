"""A bad network between a client and the API server: connections through it can be cut, held up or refused, while the
server itself goes on. For tests of watches that drop and of clients that must come back."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from enum import StrEnum
from typing import Any, Self
from urllib.parse import urlsplit

_CHUNK = 64 * 1024
# SO_LINGER with no time: closing sends a reset, as a crashed host or a firewall does.
_RESET = struct.pack("ii", 1, 0)


class _Mode(StrEnum):
    PASS = "pass"
    STALL = "stall"
    REFUSE = "refuse"


class FlakyNetwork:
    """Forwards a port of this machine to a server. Used as a context manager, or started and stopped."""

    def __init__(self, server: str) -> None:
        url = urlsplit(server)
        self._target = (url.hostname or "127.0.0.1", url.port or 443)
        self._mode = _Mode.PASS
        self._connections: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="flaky-network", daemon=True)
        self._flowing: asyncio.Event
        self._listener: asyncio.Server
        self.port: int

    def start(self) -> Self:
        self._thread.start()
        self._call(self._listen())
        return self

    def stop(self) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def connection_count(self) -> int:
        """Connections of clients that are open now."""
        return len(self._connections) // 2

    def drop_connections(self) -> int:
        """Reset all connections that are open now, and return how many; new ones are welcome."""
        count = self.connection_count
        self._call(self._reset())
        return count

    def stall(self) -> None:
        """From now on pass no byte: clients see a server that accepts connections and then says nothing."""
        self._set(_Mode.STALL)

    def refuse(self) -> None:
        """Reset all connections, and from now on every new one."""
        self._set(_Mode.REFUSE)
        self.drop_connections()

    def restore(self) -> None:
        self._set(_Mode.PASS)

    def _set(self, mode: _Mode) -> None:
        async def change() -> None:
            self._mode = mode
            if mode is _Mode.STALL:
                self._flowing.clear()
            else:
                self._flowing.set()

        self._call(change())

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)

    async def _listen(self) -> None:
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._mode is _Mode.REFUSE:
            _reset(writer)
            return
        try:
            server_reader, server_writer = await asyncio.open_connection(*self._target)
        except OSError:
            _reset(writer)
            return
        self._connections |= {writer, server_writer}
        self._forward(reader, server_writer, on_end=lambda: self._hang_up(writer, server_writer))
        self._forward(server_reader, writer, on_end=lambda: self._hang_up(writer, server_writer))

    def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, on_end: Callable[[], None]
    ) -> None:
        async def forward() -> None:
            try:
                while chunk := await reader.read(_CHUNK):
                    await self._flowing.wait()
                    writer.write(chunk)
                    await writer.drain()
            except OSError:
                pass
            finally:
                on_end()

        task = self._loop.create_task(forward())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _hang_up(self, *writers: asyncio.StreamWriter) -> None:
        for writer in writers:
            self._connections.discard(writer)
            writer.close()

    async def _reset(self) -> None:
        for writer in list(self._connections):
            _reset(writer)
        self._connections.clear()

    async def _close(self) -> None:
        self._mode = _Mode.REFUSE
        self._listener.close()
        await self._reset()
        # Also of connections that were just accepted: a task that outlives the loop is an error in somebody else's test.
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


def _reset(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
