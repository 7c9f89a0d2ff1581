"""Requests to a real API server in raw JSON, patient with a server that is restarted under a test."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import load_kube_config

Object = dict[str, Any]

_ERRORS = 400
_PATIENCE = 0.3
_BUSY = frozenset({429, 500, 503, 504})


class RefusedRequestError(Exception):
    """The server answered, with an error that asking again does not change."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class RawApi:
    """One API server."""

    def __init__(self, configuration: Configuration) -> None:
        self._client = ApiClient(configuration)

    @classmethod
    async def open(cls, kubeconfig: Path) -> Self:
        configuration = Configuration()
        await load_kube_config(config_file=str(kubeconfig), client_configuration=configuration, persist_config=False)
        return cls(configuration)

    async def close(self) -> None:
        await self._client.close()

    async def ask(self, method: str, path: str, body: Any = None, **query: str) -> Object:
        """Send one request until the server answers.

        Raises:
            RefusedRequestError: the answer is an error.
        """
        while True:
            try:
                async with asyncio.timeout(10):
                    answer = await self._send(method, path, body, query)
                    content = await answer.read()
            except (aiohttp.ClientError, OSError, TimeoutError):
                await asyncio.sleep(_PATIENCE)
                continue
            if answer.status in _BUSY:
                await asyncio.sleep(_PATIENCE)
                continue
            answered: Object = json.loads(content)
            if answer.status >= _ERRORS:
                raise RefusedRequestError(answer.status, str(answered.get("message", answered)))
            return answered

    async def find(self, path: str, **query: str) -> Object | None:
        """Return what is there, if anything."""
        try:
            return await self.ask("GET", path, **query)
        except RefusedRequestError as error:
            if error.status == 404:
                return None
            raise

    async def watch(self, path: str, **query: str) -> AsyncIterator[tuple[str, Any]]:
        """Yield ("LISTED", objects) first and whenever the watch had to begin anew, else the events by their types."""
        while True:
            listed = await self.ask("GET", path, **query)
            yield "LISTED", listed["items"]
            version = listed["metadata"]["resourceVersion"]
            try:
                async for event in self._stream(path, {**query, "watch": "true", "resourceVersion": version}):
                    yield event["type"], event["object"]
            except (aiohttp.ClientError, OSError, ValueError, TimeoutError):
                await asyncio.sleep(_PATIENCE)

    async def _stream(self, path: str, query: Mapping[str, str]) -> AsyncIterator[Object]:
        answer = await self._send("GET", path, None, query)
        try:
            if answer.status >= _ERRORS:
                return
            while line := await answer.response.content.readline():
                event: Object = json.loads(line)
                if event["type"] == "ERROR":
                    return
                yield event
        finally:
            answer.response.close()

    async def _send(self, method: str, path: str, body: Any, query: Mapping[str, str]) -> Any:
        content = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {"Accept": "application/json", "Content-Type": content}
        await self._client.update_params_for_auth(headers, None, ["BearerToken"], path, method, body)
        url = f"{self._client.configuration.host}{path}" + (f"?{urlencode(query)}" if query else "")
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
        return await self._client.rest_client.request(method, url, headers=headers, body=body, _request_timeout=timeout)
