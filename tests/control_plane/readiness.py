"""Waiting for components: until they serve, or until one of them dies, and never longer than a limit."""

import http.client
import ssl
import time
from collections.abc import Callable

from control_plane.errors import ControlPlaneError

_POLL_SECONDS = 0.03


def wait_for(
    what: str, is_true: Callable[[], bool], *, check: Callable[[], None], describe: Callable[[], str], timeout: float
) -> None:
    """Return once `is_true`; `check` raises when waiting is in vain, `describe` tells what to show after the timeout."""
    deadline = time.monotonic() + timeout
    while not is_true():
        check()
        if time.monotonic() > deadline:
            raise ControlPlaneError(f"{what}: not within {timeout:g} s. {describe()}")
        time.sleep(_POLL_SECONDS)


def is_serving(port: int, path: str, *, tls: ssl.SSLContext | None) -> bool:
    """Tell whether a component answers its health check on the loopback interface."""
    connection = (
        http.client.HTTPSConnection("127.0.0.1", port, context=tls, timeout=5)
        if tls
        else http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    )
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
