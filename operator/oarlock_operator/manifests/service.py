"""The headless Service through which the workers of one job find node 0. Pure."""

from oarlock_api.contract import RENDEZVOUS_PORT
from oarlock_operator import names
from oarlock_operator.manifests.metadata import Manifest, Owner, build_labels, build_owner_reference


def build_service(owner: Owner, *, status_port: int) -> Manifest:
    """Return the Service of a job with more than one node.

    It publishes addresses of pods that are not ready, since the rendezvous takes place before training does. It selects by
    UID: names are reused.
    """
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": names.service_name(owner.name, owner.uid),
            "namespace": owner.namespace,
            "labels": {**build_labels(owner, component="rendezvous"), names.UID_LABEL: owner.uid},
            "ownerReferences": [build_owner_reference(owner)],
        },
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {names.UID_LABEL: owner.uid, names.ROLE_LABEL: names.WORKER_ROLE},
            "ports": [
                {"name": "rendezvous", "port": RENDEZVOUS_PORT, "targetPort": RENDEZVOUS_PORT, "protocol": "TCP"},
                {"name": "status", "port": status_port, "targetPort": status_port, "protocol": "TCP"},
            ],
        },
    }
