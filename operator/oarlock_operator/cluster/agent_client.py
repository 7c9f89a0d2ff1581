"""Asking a pod's agent for its status.

What answers may be anything, so there is no HTTP library between it and us: one question of HTTP/1.0, one second, one answer of
a bounded size in plain JSON. No redirect, no proxy, no cookie, no decompression, no chunks; a peer that sends more is hung up on
at once, and nothing that it says gets into an error.
"""

import asyncio
import ipaddress
import re
from typing import Any

from oarlock_api.contract import MAX_STATUS_BYTES, STATUS_PATH
from oarlock_operator.cluster.port import Object, UnavailableError

_SECONDS = 1.0
_MAX_HEAD_BYTES = 8 * 1024
_AT_A_TIME = 16 * 1024
_OK = 200
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: [^\r\n]*)?")
_JSON = re.compile(rb"application/json\s*(?:;.*)?")


class _UnfitError(ValueError):
    """An answer is not one of an agent's; says why in our own words."""


async def fetch_status(pod: Object) -> bytes:
    """Return what the agent of a pod answers, at most `MAX_STATUS_BYTES`.

    Raises:
        UnavailableError.
    """
    address, port = find_agent(pod)
    where = f"the agent at {f'[{address}]' if ':' in address else address}:{port}"
    try:
        async with asyncio.timeout(_SECONDS):
            return await _ask(address, port)
    except _UnfitError as error:
        raise UnavailableError(f"{where} {error}") from None
    except TimeoutError:
        raise UnavailableError(f"{where} did not answer within {_SECONDS:.0f} s") from None
    except (OSError, OverflowError) as error:
        raise UnavailableError(f"{where} cannot be reached: {type(error).__name__}") from error


def find_agent(pod: Object) -> tuple[str, int]:
    """Return the address and the port of a pod's agent.

    Raises:
        UnavailableError: if the pod has none yet, or what it has is no address.
    """
    address, port = (pod.get("status") or {}).get("podIP"), _status_port(pod)
    if not address or not port:
        raise UnavailableError(f"pod {pod['metadata']['name']} has no address or no status port yet")
    try:
        return str(ipaddress.ip_address(address)), int(port)
    except ValueError:
        raise UnavailableError(f"the address of pod {pod['metadata']['name']} is none") from None


def _status_port(pod: Object) -> Any:
    containers = (pod.get("spec") or {}).get("containers") or ()
    ports = (port for each in containers for port in each.get("ports") or () if port.get("name") == "status")
    return next((port.get("containerPort") for port in ports), None)


async def _ask(address: str, port: int) -> bytes:
    reader, writer = await asyncio.open_connection(address, port, limit=_AT_A_TIME)
    try:
        host = f"[{address}]" if ":" in address else address
        question = f"GET {STATUS_PATH} HTTP/1.0\r\nHost: {host}:{port}\r\nUser-Agent: oarlock-operator\r\n\r\n"
        writer.write(question.encode())
        return await _read_answer(reader)
    finally:
        writer.transport.abort()  # an orderly goodbye would wait for the other side


async def _read_answer(reader: asyncio.StreamReader) -> bytes:
    """Return the body; a server that keeps the connection open must have said how long it is."""
    content, body, length = b"", b"", None
    while part := await reader.read(_AT_A_TIME):
        content += part
        head, end, body = content.partition(b"\r\n\r\n")
        if len(head) > _MAX_HEAD_BYTES:
            raise _UnfitError(f"answers with a head of more than {_MAX_HEAD_BYTES} bytes")
        if not end:
            continue
        length = _read_head(head)
        if max(len(body), length or 0) > MAX_STATUS_BYTES:
            raise _UnfitError(f"answers with more than {MAX_STATUS_BYTES} bytes")
        if length is not None and len(body) >= length:
            return body[:length]
    if b"\r\n\r\n" not in content or length is not None:
        raise _UnfitError("breaks off in the middle of its answer")
    return body


def _read_head(head: bytes) -> int | None:
    """Return the length that an acceptable head announces, if it does."""
    first, *lines = head.split(b"\r\n")
    status = _STATUS_LINE.fullmatch(first)
    if status is None:
        raise _UnfitError("does not speak HTTP")
    if int(status[1]) != _OK:
        raise _UnfitError(f"answers with HTTP status {int(status[1])}")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    if not _JSON.fullmatch(fields.get(b"content-type", b"").lower()):
        raise _UnfitError("answers with something else than JSON")
    if b"transfer-encoding" in fields or fields.get(b"content-encoding", b"identity").lower() != b"identity":
        raise _UnfitError("answers in an encoding that was not asked for")
    length = fields.get(b"content-length")
    if length is None:
        return None
    if not re.fullmatch(rb"[0-9]{1,10}", length):
        raise _UnfitError("answers with a length that is no number")
    return int(length)
