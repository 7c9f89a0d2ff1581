"""Asking a pod's agent for its status.

What answers may be anything: it gets one second, no redirect, no proxy, no cookie, no decompression, and 64 KiB.
"""

from typing import Any

import aiohttp

from oarlock_api.contract import MAX_STATUS_BYTES, STATUS_PATH
from oarlock_operator.cluster.port import Object, UnavailableError

_SECONDS = 1.0
_AT_ONCE = 64
_OK = 200


class AgentClient:
    """Asks agents by their pods' addresses."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def fetch_status(self, pod: Object) -> bytes:
        """Return the body of an answer, of at most `MAX_STATUS_BYTES`.

        Raises:
            UnavailableError.
        """
        url = status_url(pod)
        try:
            async with self._open().get(url, allow_redirects=False) as answer:
                if answer.status != _OK:
                    raise UnavailableError(f"{url} answers with HTTP status {answer.status}", status=answer.status)
                return await _read(answer.content, url)
        except (aiohttp.ClientError, OSError, ValueError) as error:  # TimeoutError is an OSError
            raise UnavailableError(f"{url} does not answer: {type(error).__name__} {error}") from error

    async def close(self) -> None:
        if self._session:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=_AT_ONCE, force_close=True),
                timeout=aiohttp.ClientTimeout(total=_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept-Encoding": "identity", "User-Agent": "oarlock-operator"},
                auto_decompress=False,
                trust_env=False,
            )
        return self._session


def status_url(pod: Object) -> str:
    """Return where a pod's agent answers.

    Raises:
        UnavailableError: if the pod has no address or no port for it.
    """
    address = (pod.get("status") or {}).get("podIP")
    port = _status_port(pod)
    if not address or not port:
        raise UnavailableError(f"pod {pod['metadata']['name']} has no address or no status port yet")
    return f"http://{f'[{address}]' if ':' in address else address}:{port}{STATUS_PATH}"


def _status_port(pod: Object) -> Any:
    containers = (pod.get("spec") or {}).get("containers") or ()
    ports = (port for each in containers for port in each.get("ports") or () if port.get("name") == "status")
    return next((port.get("containerPort") for port in ports), None)


async def _read(content: aiohttp.StreamReader, url: str) -> bytes:
    parts, size = [], 0
    async for part in content.iter_any():
        size += len(part)
        if size > MAX_STATUS_BYTES:
            raise UnavailableError(f"{url} answers with more than {MAX_STATUS_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)
