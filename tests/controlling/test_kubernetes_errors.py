import json

import pytest
from controlling.scripted_server import Answer, ScriptedServer, failure, serve

from oarlock_operator.cluster.api_errors import build_error
from oarlock_operator.cluster.kubernetes_cluster import KubernetesCluster
from oarlock_operator.cluster.port import (
    AlreadyExistsError,
    ClusterError,
    ConflictError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from oarlock_operator.metrics import Metrics
from oarlock_operator.reconcile.plans import EventNote, Reference

POD = Reference(kind="Pod", namespace="team", name="pod")
MANIFEST = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod", "namespace": "team"}}


@pytest.mark.parametrize(
    ("verb", "status", "reason", "kind"),
    [
        ("create", 409, "AlreadyExists", AlreadyExistsError),
        ("create", 409, "Conflict", UnavailableError),  # somebody else updates the quota at the same time
        ("update", 409, "Conflict", ConflictError),
        ("delete", 409, "Conflict", ConflictError),
        ("get", 404, "NotFound", NotFoundError),
        ("create", 404, "NotFound", RefusedError),  # its namespace is not there
        ("create", 403, "Forbidden", RefusedError),
        ("create", 422, "Invalid", RefusedError),
        ("create", 400, "BadRequest", RefusedError),
        ("get", 401, "Unauthorized", UnavailableError),
        ("get", 429, "TooManyRequests", UnavailableError),
        ("get", 500, "InternalError", UnavailableError),
        ("get", 503, "ServiceUnavailable", UnavailableError),
        ("get", 504, "Timeout", UnavailableError),
    ],
)
def test_error_means_what_its_reason_says(verb: str, status: int, reason: str, kind: type[ClusterError]) -> None:
    content = json.dumps({"reason": reason, "message": "because"}).encode()

    error = build_error(status, content, headers={}, verb=verb, reference=POD)

    assert type(error) is kind
    assert (str(error), error.status) == ("because (Pod team/pod)", status)


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [({"Retry-After": "7"}, {}, 7), ({}, {"details": {"retryAfterSeconds": 3}}, 3), ({"Retry-After": "soon"}, {}, 0)],
)
def test_server_says_when_to_come_back(headers: dict[str, str], body: dict[str, object], seconds: float) -> None:
    error = build_error(429, json.dumps(body).encode(), headers=headers, verb="get", reference=None)

    assert isinstance(error, UnavailableError)
    assert error.retry_after == seconds


def test_answer_of_a_proxy_is_quoted_when_it_is_no_json() -> None:
    error = build_error(502, b"<html>Bad Gateway</html>", headers={}, verb="get", reference=None)

    assert "Bad Gateway" in str(error)


async def test_server_is_unavailable_when_nobody_listens() -> None:
    async with serve(ScriptedServer()) as connection:
        connection._client.configuration.host = "http://127.0.0.1:1"
        with pytest.raises(UnavailableError, match="cannot be reached"):
            await KubernetesCluster(connection).get(POD)


async def test_requests_are_counted_by_verb_resource_and_code() -> None:
    counted = []

    class Counter(Metrics):
        def count_request(self, *, verb: str, resource: str, code: str, seconds: float) -> None:  # noqa: ARG002
            counted.append((verb, resource, code))

    server = ScriptedServer()
    server.then(Answer(body=MANIFEST), failure(404, "NotFound"))
    async with serve(server, Counter()) as connection:
        cluster = KubernetesCluster(connection)
        await cluster.get(POD)
        with pytest.raises(NotFoundError):
            await cluster.get(POD)

    assert counted == [("get", "pods", "200"), ("get", "pods", "404")]


async def test_deletion_names_the_uid_and_the_grace() -> None:
    server = ScriptedServer()
    server.then(Answer(body={}), failure(404, "NotFound"))
    async with serve(server) as connection:
        cluster = KubernetesCluster(connection)
        await cluster.delete(POD, uid="u", grace_seconds=5)
        await cluster.delete(POD, uid="u")

    sent = server.bodies[0]
    assert (sent["preconditions"], sent["gracePeriodSeconds"]) == ({"uid": "u"}, 5)
    assert "gracePeriodSeconds" not in server.bodies[1]


async def test_event_is_counted_on_when_an_operator_before_this_one_has_said_it() -> None:
    server = ScriptedServer()
    server.then(failure(409, "AlreadyExists"), Answer(body={}), Answer(body={}))
    job = Reference(kind="TrainingJob", namespace="team", name="job")
    async with serve(server) as connection:
        cluster = KubernetesCluster(connection)
        for _ in range(2):
            await cluster.record_event(job, uid="u", note=EventNote(reason="Failed", message="why", warning=True))

    assert [request.method for request in server.requests] == ["POST", "PATCH", "PATCH"]
    assert [body["count"] for body in server.bodies] == [1, 2, 3]
    assert server.bodies[0]["type"] == "Warning"
