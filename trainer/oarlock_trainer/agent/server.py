"""The status port: /status, /metrics and /healthz, for whoever asks; nothing can be changed through it.

Requests have no body, short time-outs and a limit on how many are answered at once, since anything in the cluster may ask.
"""

import socket
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from oarlock_api.contract import HEALTH_PATH, METRICS_PATH, STATUS_PATH, STATUS_PORT_ENV
from oarlock_trainer.agent import prometheus
from oarlock_trainer.agent.config import AgentConfig
from oarlock_trainer.agent.status import Board, build_status_json
from oarlock_trainer.errors import ConfigError

_REQUEST_TIMEOUT_SECONDS = 5.0
_MAX_REQUESTS_AT_ONCE = 16
_STALE_SECONDS = 30.0
"""Silence of the main loop after which /healthz says so; killing a process tree may take a while."""

Answer = tuple[HTTPStatus, str, str]
Routes = dict[str, Callable[[], Answer]]


class _Handler(BaseHTTPRequestHandler):
    server_version = "oarlock"
    sys_version = ""
    timeout = _REQUEST_TIMEOUT_SECONDS
    routes: Routes

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name is the standard library's
        """Print nothing: the log is the training's."""

    def _answer(self, *, with_body: bool) -> None:
        route = self.routes.get(self.path.partition("?")[0])
        status, content_type, text = route() if route else (HTTPStatus.NOT_FOUND, "text/plain", "not found\n")
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Ended threads are not kept to be joined: this server lives for weeks.
    block_on_close = False

    def __init__(self, address: tuple[str, int], handler: type[_Handler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._slots = threading.BoundedSemaphore(_MAX_REQUESTS_AT_ONCE)
        super().__init__(address, handler)

    def server_bind(self) -> None:
        # HTTPServer's own asks DNS for the name of the address, which may take long and is never used.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]  # text and number

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._slots.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore it: a client that went away or sent nonsense is none of the training's business."""


class StatusServer:
    """Serves the board as long as the agent lives: scrapers see the end, too."""

    def __init__(self, config: AgentConfig, board: Board) -> None:
        """Bind the port.

        Raises:
            ConfigError: if the address is not this pod's or the port is taken.
        """
        handler = type("Handler", (_Handler,), {"routes": _build_routes(config, board)})
        try:
            self._server = _Server((config.pod_ip, config.status_port), handler)
        except OSError as error:
            raise ConfigError(
                f"the status port cannot be opened: {config.pod_ip}:{config.status_port}: {error.strerror or error}",
                remedy=f"choose another port ({STATUS_PORT_ENV} comes from the operator's settings); with hostNetwork"
                " two pods on a node need different ones",
            ) from error
        threading.Thread(target=self._server.serve_forever, name="status-server", daemon=True).start()


def _build_routes(config: AgentConfig, board: Board) -> Routes:
    def health() -> Answer:
        silent = 0.0 if board.ticked_at is None else time.monotonic() - board.ticked_at
        if silent < _STALE_SECONDS:
            return HTTPStatus.OK, "text/plain", "ok\n"
        return HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", f"the agent's main loop is silent for {silent:.0f} s\n"

    return {
        STATUS_PATH: lambda: (
            HTTPStatus.OK,
            "application/json",
            build_status_json(config, board.snapshot, now=time.time()),
        ),
        METRICS_PATH: lambda: (HTTPStatus.OK, prometheus.CONTENT_TYPE, prometheus.render_metrics(board.snapshot)),
        HEALTH_PATH: health,
    }
