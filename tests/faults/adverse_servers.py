"""Servers that make a cluster difficult: an API server that throttles, and a webhook that refuses."""

import asyncio
import json
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import Future
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from aiohttp import ClientSession, ClientTimeout, web
from multidict import CIMultiDict

from control_plane.api import Api

Body = dict[str, Any]


class Webhook:
    """Refuses whatever it is asked, over TLS, as an admission webhook does."""

    def __init__(self, certificate: Path, key: Path, *, says: str) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _refuse(says))
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate, key)
        self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, name="webhook", daemon=True)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._server.server_address[1]}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _refuse(says: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            verdict = {"uid": review["request"]["uid"], "allowed": False, "status": {"message": says}}
            answer = json.dumps({**review, "response": verdict}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


class ThrottlingProxy:
    """Stands before an API server and answers 429 to those requests that `throttles` picks, by method, path and body.

    It lives in a thread of its own.
    """

    def __init__(self, api: Api, throttles: Callable[[str, str, bytes], bool]) -> None:
        self._api, self._throttles = api, throttles
        self._started: Future[str] = Future()
        self._loop: asyncio.AbstractEventLoop
        self._end: asyncio.Event
        self._session: ClientSession
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="proxy", daemon=True)

    @property
    def url(self) -> str:
        return self._started.result(timeout=60)

    def __enter__(self) -> Self:
        self._thread.start()
        self.url  # noqa: B018  # waits until it is served
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(timeout=60)

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        application = web.Application(client_max_size=16 * 2**20)
        application.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(application, shutdown_timeout=0.1, handler_cancellation=True)
        async with ClientSession(timeout=ClientTimeout(total=None), auto_decompress=False) as self._session:
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self._started.set_result(f"http://127.0.0.1:{runner.addresses[0][1]}")
            await self._end.wait()
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if self._throttles(request.method, request.path, body):
            status = {"kind": "Status", "code": 429, "reason": "TooManyRequests", "message": "too many requests"}
            return web.json_response(status, status=429, headers={"Retry-After": "1"})
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _HOP]
        url = f"{self._api.server}{request.path_qs}"
        async with self._session.request(
            request.method, url, data=body or None, headers=headers, ssl=self._api.tls, allow_redirects=False
        ) as answer:
            kept = CIMultiDict((name, value) for name, value in answer.headers.items() if name.lower() not in _HOP)
            passed = web.StreamResponse(status=answer.status, headers=kept)
            await passed.prepare(request)
            async for chunk in answer.content.iter_any():
                await passed.write(chunk)
            return passed


_HOP = frozenset({"host", "connection", "transfer-encoding", "content-length"})
