"""Requests to an API server through `kubernetes.aio`.

Raw JSON goes in and out: models of the objects take longer to build than the server takes to answer.
"""

import json
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.client.rest import RESTResponse
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from oarlock_operator.clock import ServerClock
from oarlock_operator.cluster.api_errors import build_error
from oarlock_operator.cluster.port import Object, UnavailableError
from oarlock_operator.errors import StartError
from oarlock_operator.metrics import Metrics
from oarlock_operator.reconcile.plans import Reference

_REQUEST_SECONDS = 15.0
_CONNECT_SECONDS = 5.0
_ERRORS = 400
_METHODS = {"get": "GET", "list": "GET", "watch": "GET", "create": "POST", "delete": "DELETE", "update": "PUT"}
_JSON = "application/json"
_MERGE_PATCH = "application/merge-patch+json"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Request:
    verb: str
    path: str
    resource: str
    query: Mapping[str, str] | None = None
    body: Any = None
    reference: Reference | None = None
    seconds: float | None = _REQUEST_SECONDS
    accept: str = _JSON


class Connection:
    """One API server, as the user that the environment names."""

    def __init__(self, configuration: Configuration, *, metrics: Metrics, clock: ServerClock) -> None:
        self._client = ApiClient(configuration)
        self._client.user_agent = "oarlock-operator"
        self._metrics, self._clock = metrics, clock

    @classmethod
    async def open(
        cls,
        *,
        metrics: Metrics | None = None,
        clock: ServerClock | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> Self:
        """Connect as the service account of the pod, else as the kubeconfig says.

        Raises:
            StartError: if there is neither.
        """
        configuration = Configuration()
        try:
            if "KUBERNETES_SERVICE_HOST" in environment and "KUBECONFIG" not in environment:
                load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
            else:
                await load_kube_config(  # type: ignore[no-untyped-call]
                    config_file=environment.get("KUBECONFIG"), client_configuration=configuration, persist_config=False
                )
        except (ConfigException, OSError) as error:
            raise StartError(
                f"there is no way to reach an API server: {error}; "
                "run the operator in a pod with a service account, or set KUBECONFIG"
            ) from error
        # aiohttp would read ~/.netrc and look for a proxy with every request, in two threads: once is enough.
        configuration.client_session_kwargs = {"trust_env": False}
        configuration.proxy = configuration.proxy or find_proxy(str(configuration.host))
        return cls(configuration, metrics=metrics or Metrics(), clock=clock or ServerClock())

    @property
    def server(self) -> str:
        return str(self._client.configuration.host)

    async def close(self) -> None:
        await self._client.close()  # type: ignore[no-untyped-call]

    async def request(
        self,
        verb: str,
        path: str,
        *,
        resource: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        reference: Reference | None = None,
        seconds: float = _REQUEST_SECONDS,
        accept: str = _JSON,
    ) -> Object:
        """Send one request and return the JSON of the answer.

        Raises:
            ClusterError: the kind of it depends on the answer.
        """
        request = _Request(
            verb=verb,
            path=path,
            resource=resource,
            query=query,
            body=body,
            reference=reference,
            seconds=seconds,
            accept=accept,
        )
        async with self._answer(request) as answer:
            answered: Object = json.loads(await _read(answer))
            return answered

    @asynccontextmanager
    async def stream(
        self, path: str, *, resource: str, query: Mapping[str, str]
    ) -> AsyncIterator[AsyncIterator[Object]]:
        """Open a watch; yields its lines, each as JSON.

        Raises:
            ClusterError: as `request`, also while lines are read.
        """
        request = _Request(verb="watch", path=path, resource=resource, query=query, seconds=None)
        async with self._answer(request) as answer:
            yield _lines(answer)

    @asynccontextmanager
    async def _answer(self, request: _Request) -> AsyncIterator[RESTResponse]:
        began, code, reference = time.perf_counter(), "error", request.reference
        try:
            answer = await self._send(request)
            code = str(answer.status)
            try:
                if answer.status >= _ERRORS:
                    content = await _read(answer)
                    raise build_error(
                        answer.status, content, headers=answer.headers, verb=request.verb, reference=reference
                    )
                self._clock.note(answer.headers.get("Date"))
                yield answer
            finally:
                # A connection on which everything was read is used again; a watch's is not.
                answer.response.release() if answer.data is not None else answer.response.close()
        except TimeoutError:
            code = "timeout"
            raise UnavailableError(
                f"the API server {self.server} did not answer in time", reference=reference
            ) from None
        except (aiohttp.ClientError, OSError, json.JSONDecodeError) as error:
            what = f"{type(error).__name__} {error}"
            raise UnavailableError(
                f"the API server {self.server} cannot be reached: {what}", reference=reference
            ) from error
        finally:
            seconds = time.perf_counter() - began
            self._metrics.count_request(verb=request.verb, resource=request.resource, code=code, seconds=seconds)

    async def _send(self, request: _Request) -> RESTResponse:
        headers: dict[str, str] = {**self._client.default_headers, "Accept": request.accept}
        headers["Content-Type"] = _MERGE_PATCH if request.verb == "patch" else _JSON
        await self._client.update_params_for_auth(
            headers, None, ["BearerToken"], request.path, request.verb, request.body
        )
        sent: RESTResponse = await self._client.rest_client.request(  # type: ignore[no-untyped-call]
            _METHODS.get(request.verb, request.verb.upper()),
            self.server + request.path + (f"?{urlencode(request.query)}" if request.query else ""),
            headers=headers,
            body=request.body,
            _request_timeout=aiohttp.ClientTimeout(total=request.seconds, sock_connect=_CONNECT_SECONDS),
        )
        return sent


def find_proxy(server: str) -> str | None:
    """Return the proxy that the environment names for a server, if it does (HTTPS_PROXY, NO_PROXY)."""
    address = urlsplit(server)
    return None if proxy_bypass(address.netloc) else getproxies().get(address.scheme)


async def _read(answer: RESTResponse) -> bytes:
    content: bytes = await answer.read()  # type: ignore[no-untyped-call]
    return content


async def _lines(answer: RESTResponse) -> AsyncIterator[Object]:
    content: aiohttp.StreamReader = answer.response.content
    while line := await content.readline():
        yield json.loads(line)
