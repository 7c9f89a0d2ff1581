"""A client of the API server in one page. The harness asks little, and a client of its own keeps the libraries under
test out of the judgement whether the server works."""

import base64
import http.client
import json
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from control_plane.errors import ControlPlaneError
from control_plane.kubeconfigs import Kubeconfig, read_kubeconfig

_HTTP_ERRORS = 400


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Any

    @property
    def ok(self) -> bool:
        return self.status < _HTTP_ERRORS


class Api:
    """Requests to one API server as one user."""

    def __init__(self, server: str, *, tls: ssl.SSLContext, token: str | None = None) -> None:
        self.server = server
        self.tls = tls
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    @classmethod
    def from_kubeconfig(cls, path: Path) -> Self:
        kubeconfig = read_kubeconfig(path)
        token = kubeconfig.user.get("token")
        return cls(kubeconfig.server, tls=_build_tls(kubeconfig, path), token=token)

    def ask(self, method: str, path: str, body: Any = None, *, timeout: float = 10) -> Answer:
        """Send one request and return the answer, whatever its status."""
        url = urlsplit(self.server)
        connection = http.client.HTTPSConnection(url.netloc, context=self.tls, timeout=timeout)
        content = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {**self._headers, "Accept": "application/json", "Content-Type": content}
        try:
            connection.request(method, f"{url.path.rstrip('/')}{path}", _encode(body), headers)
            response = connection.getresponse()
            return Answer(response.status, _decode(response.read()))
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        return self._must("GET", path)

    def create(self, path: str, body: Any) -> Any:
        return self._must("POST", path, body)

    def patch(self, path: str, body: Any) -> Any:
        return self._must("PATCH", path, body)

    def delete(self, path: str) -> Any:
        return self._must("DELETE", path)

    def exists(self, path: str) -> bool:
        return self.ask("GET", path).ok

    def _must(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.ask(method, path, body)
        if not answer.ok:
            message = answer.body.get("message", answer.body) if isinstance(answer.body, dict) else answer.body
            raise ControlPlaneError(f"{method} {self.server}{path} was answered with {answer.status}: {message}")
        return answer.body


def _build_tls(kubeconfig: Kubeconfig, path: Path) -> ssl.SSLContext:
    authority = _read(kubeconfig.cluster, "certificate-authority", path)
    tls = ssl.create_default_context(cadata=authority.decode() if authority else None)
    if kubeconfig.cluster.get("insecure-skip-tls-verify"):
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    certificate, key = (_read(kubeconfig.user, name, path) for name in ("client-certificate", "client-key"))
    if certificate and key:
        with tempfile.NamedTemporaryFile() as file:  # OpenSSL reads client certificates from files only
            file.write(certificate + b"\n" + key)
            file.flush()
            tls.load_cert_chain(file.name)
    elif "token" not in kubeconfig.user:
        raise ControlPlaneError(
            f"{path} logs in by {', '.join(kubeconfig.user) or 'nothing'}; the test harness knows client certificates "
            "and tokens: make a kubeconfig with the token of a cluster-admin service account (`kubectl create token`)"
        )
    return tls


def _read(entry: dict[str, Any], name: str, kubeconfig: Path) -> bytes | None:
    if f"{name}-data" in entry:
        return base64.b64decode(entry[f"{name}-data"])
    return (kubeconfig.parent / entry[name]).read_bytes() if name in entry else None


def _encode(body: Any) -> bytes | None:
    return None if body is None else json.dumps(body).encode()


def _decode(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")
