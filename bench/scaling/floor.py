"""The requests of a pair of TrainingJobs without an operator: what one that thinks for nothing would still have to wait for.

After each creation the bench's own client writes the very status, and creates the very pod, that the operator did for a job of
an earlier burst. What this takes more than a burst of Jobs is the price of CustomResources on this API server.
"""

import copy
from collections.abc import Awaitable, Callable
from typing import Any

from kube_node.raw_api import RawApi, RefusedRequestError

Object = dict[str, Any]

_KEPT_METADATA = ("name", "namespace", "labels", "annotations", "ownerReferences")


def make_follow(job: Object, pod: Object) -> Callable[[RawApi, Object], Awaitable[None]]:
    """Return what writes the status of a new job like that of `job`, and creates a pod like `pod`, its only one."""
    old_name, old_uid = job["metadata"]["name"], job["metadata"]["uid"]
    kept = {name: value for name, value in pod["metadata"].items() if name in _KEPT_METADATA}
    spec = {name: value for name, value in pod["spec"].items() if name != "nodeName"}
    template = {"apiVersion": "v1", "kind": "Pod", "metadata": kept, "spec": spec}

    async def follow(api: RawApi, made: Object) -> None:
        metadata = made["metadata"]
        path = f"/apis/{made['apiVersion']}/namespaces/{metadata['namespace']}/trainingjobs/{metadata['name']}/status"
        await api.ask("PUT", path, {**made, "status": job["status"]})
        child = copy.deepcopy(template)
        owner = child["metadata"]["ownerReferences"][0]
        owner["name"], owner["uid"] = metadata["name"], metadata["uid"]
        child["metadata"]["name"] = (
            kept["name"].replace(old_name, metadata["name"]).replace(old_uid[:8], metadata["uid"][:8])
        )
        try:
            await api.ask("POST", f"/api/v1/namespaces/{metadata['namespace']}/pods", child)
        except RefusedRequestError as error:
            if error.status != 409:  # created by a request whose answer did not come in time
                raise

    return follow
