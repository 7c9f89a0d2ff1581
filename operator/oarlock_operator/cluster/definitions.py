"""Comparing the CustomResourceDefinitions on the server with what this operator knows.

A definition that is older drops fields that it does not know, without a word: counters of the status would be lost, and with
them the limits of restarts. So the operator refuses to act on one.
"""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from oarlock_api.crd import SCHEMA_HASH_ANNOTATION, dataset_crd, training_job_crd
from oarlock_api.v1alpha1 import VERSION
from oarlock_operator.cluster.connection import Connection
from oarlock_operator.cluster.port import NotFoundError, RefusedError
from oarlock_operator.errors import StartError

_log = logging.getLogger(__name__)

_ROOT = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_MOST_NAMED = 3
_REMEDY = (
    "apply the files in crds/ of this version (`kubectl apply --server-side -f crds/`), then start the operator again"
)


async def check_definitions(connection: Connection) -> None:
    """Make sure that the server knows all fields that this operator writes.

    Raises:
        StartError: it does not, or has no definition at all.
        UnavailableError.
    """
    for known in (dataset_crd(), training_job_crd()):
        name = known["metadata"]["name"]
        try:
            served = await connection.request("get", f"{_ROOT}/{name}", resource="customresourcedefinitions")
        except NotFoundError:
            raise StartError(f"the CustomResourceDefinition {name} is not installed; {_REMEDY}") from None
        except RefusedError as error:
            _log.warning("cannot compare %s, lost fields will be found when they are written: %s", name, error)
            continue
        check_definition(known, served)


def check_definition(known: Mapping[str, Any], served: Mapping[str, Any]) -> None:
    """Compare one definition.

    Raises:
        StartError: naming the first fields that the served one lacks.
    """
    name = known["metadata"]["name"]
    if _schema_hash(known) and _schema_hash(known) == _schema_hash(served):
        return
    schema = _find_schema(served)
    if schema is None:
        raise StartError(f"the CustomResourceDefinition {name} does not serve version {VERSION}; {_REMEDY}")
    lacking = list(find_lacking_fields(_find_schema(known) or {}, schema))
    if lacking:
        more = f" and {len(lacking) - _MOST_NAMED} more" if len(lacking) > _MOST_NAMED else ""
        raise StartError(
            f"the CustomResourceDefinition {name} is older than this operator: it lacks "
            f"{', '.join(lacking[:_MOST_NAMED])}{more}; {_REMEDY}"
        )
    _log.warning("the CustomResourceDefinition %s is of another version, but has all fields that are needed", name)


def find_lacking_fields(known: Mapping[str, Any], served: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Yield the paths of fields that a schema knows, and that an object with the other schema would lose."""
    if served.get("x-kubernetes-preserve-unknown-fields"):
        return
    theirs = served.get("properties") or {}
    for name, schema in (known.get("properties") or {}).items():
        where = f"{path}.{name}" if path else name
        if name in theirs:
            yield from find_lacking_fields(schema, theirs[name], where)
        else:
            yield where
    for part, suffix in (("items", "[]"), ("additionalProperties", ".*")):
        if isinstance(known.get(part), Mapping):
            other = served.get(part)
            yield from find_lacking_fields(known[part], other if isinstance(other, Mapping) else {}, path + suffix)


def _schema_hash(definition: Mapping[str, Any]) -> str:
    return str((definition["metadata"].get("annotations") or {}).get(SCHEMA_HASH_ANNOTATION, ""))


def _find_schema(definition: Mapping[str, Any]) -> Mapping[str, Any] | None:
    versions = definition["spec"]["versions"]
    served = (version for version in versions if version["name"] == VERSION and version.get("served"))
    return next((version.get("schema", {}).get("openAPIV3Schema", {}) for version in served), None)
