"""The variables of a container. Pure.

The kubelet expands `$(NAME)` in values, so every dollar sign of ours and of the user's is doubled: what is written in the
manifest arrives as it is.
"""

from collections.abc import Mapping

from oarlock_api.contract import POD_IP_ENV, POD_NAME_ENV
from oarlock_api.v1alpha1.pod_template import PodTemplate
from oarlock_operator.manifests.metadata import Manifest


def escape_dollars(value: str) -> str:
    """Return a value that the kubelet turns back into `value`."""
    return value.replace("$", "$$")


def build_environment(variables: Mapping[str, str], template: PodTemplate) -> list[Manifest]:
    """Return the variables of the contract, those that only the node knows, and the user's, in this order."""
    added = {variable.name: variable.value for variable in template.env or ()}
    return [
        *({"name": name, "value": escape_dollars(value)} for name, value in variables.items() if name not in added),
        {"name": POD_NAME_ENV, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": POD_IP_ENV, "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        *({"name": name, "value": escape_dollars(value)} for name, value in added.items()),
    ]
