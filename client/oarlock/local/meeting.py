"""Where the pods of several nodes meet on one machine. Pure.

torchrun listens on all addresses of a machine, so that two gangs could not meet at the same port: each gets one of its own,
which all its pods derive from the name of the meeting.
"""

import zlib
from collections.abc import Mapping
from typing import Any

from oarlock.local.environment import split_endpoint
from oarlock_api.contract import RENDEZVOUS_ENDPOINT_ENV

_FIRST_PORT, _PORTS = 10_000, 5_000
"""Below the ports that connections go out from, which anybody may hold for a moment."""


def find_meeting(container: Mapping[str, Any]) -> str:
    """Return the endpoint at which a container meets others; empty if it meets nobody."""
    endpoints = (entry.get("value") for entry in container.get("env", ()) if entry["name"] == RENDEZVOUS_ENDPOINT_ENV)
    return next((str(endpoint) for endpoint in endpoints if endpoint), "")


def is_named(endpoint: str) -> bool:
    """Say whether an endpoint has a name that only a cluster's DNS knows, such as `r0-a0.lenet-4f7d2c1e:29400`."""
    _, _, subdomain = split_endpoint(endpoint)[0].partition(".")
    return bool(subdomain) and not subdomain.replace(".", "").isdigit()


def derive_port(endpoint: str) -> int:
    """Return the port of a meeting on this machine: the one that was asked for, unless other gangs ask for it too."""
    host, port = split_endpoint(endpoint)
    return _FIRST_PORT + zlib.crc32(host.encode()) % _PORTS if is_named(endpoint) else int(port)


def list_ports(pod: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the port that a pod must find free: that of the meeting, for the pod at which the others meet."""
    endpoint = find_meeting(pod["spec"]["containers"][0])
    hostname = split_endpoint(endpoint)[0].partition(".")[0]
    is_elsewhere = is_named(endpoint) and pod["spec"].get("hostname") != hostname
    return (derive_port(endpoint),) if endpoint and not is_elsewhere else ()
