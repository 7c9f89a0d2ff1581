"""Asks a pod's agent for its status over plain HTTP, trusting nothing in the answer but its size."""

import asyncio

from oarlock_api.contract import MAX_STATUS_BYTES, STATUS_PATH

_TIMEOUT_SECONDS = 1.0
_MAX_HEADER_BYTES = 8 * 1024
_OK = b"200"


class NoAnswerError(Exception):
    """The agent gave no usable answer."""


async def fetch_status(address: str, port: int, *, timeout: float = _TIMEOUT_SECONDS) -> bytes:  # noqa: ASYNC109  # one bound
    """Return the body of the answer.

    Raises:
        NoAnswerError: if there is none in time, it is too long, or it is not 200: redirects are not followed.
    """
    try:
        async with asyncio.timeout(timeout):
            return await _exchange(address, port)
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise NoAnswerError(f"{address}:{port} does not answer: {error or type(error).__name__}") from None


async def _exchange(address: str, port: int) -> bytes:
    reader, writer = await asyncio.open_connection(address, port, limit=_MAX_HEADER_BYTES)
    try:
        # HTTP/1.0: the answer ends with the connection, so that no length has to be believed.
        writer.write(f"GET {STATUS_PATH} HTTP/1.0\r\nHost: {address}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        words = head.split(None, 2)
        if len(words) < 2 or words[1] != _OK:  # noqa: PLR2004  # protocol and code
            raise NoAnswerError(f"{address}:{port} answered {head[:80]!r}")
        body = await _read_at_most(reader, MAX_STATUS_BYTES + 1)
    finally:
        writer.close()
    if len(body) > MAX_STATUS_BYTES:
        raise NoAnswerError(f"{address}:{port} answered more than {MAX_STATUS_BYTES} bytes")
    return body


async def _read_at_most(reader: asyncio.StreamReader, limit: int) -> bytes:
    parts: list[bytes] = []
    while limit > 0 and (part := await reader.read(limit)):
        parts.append(part)
        limit -= len(part)
    return b"".join(parts)
