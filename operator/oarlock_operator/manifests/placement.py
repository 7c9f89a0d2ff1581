"""Where and as whom a pod may run, and which image it runs, as its pod template says. Pure."""

from collections.abc import Sequence

from oarlock_api.v1alpha1.pod_template import PodTemplate
from oarlock_operator.manifests.exclusion import exclude_nodes
from oarlock_operator.manifests.metadata import Manifest, without_empty
from oarlock_operator.manifests.preference import prefer_nodes


def build_placement(template: PodTemplate, *, excluded: Sequence[str] = (), preferred: Sequence[str] = ()) -> Manifest:
    """Return the fields of a pod's spec that decide where, how urgently and as whom it runs."""
    return without_empty(
        {
            "schedulerName": template.scheduler_name,
            "priorityClassName": template.priority_class_name,
            "runtimeClassName": template.runtime_class_name,
            "serviceAccountName": template.service_account_name,
            "nodeSelector": template.node_selector,
            "affinity": prefer_nodes(exclude_nodes(template.affinity, excluded), preferred),
            "tolerations": [toleration.to_wire() for toleration in template.tolerations or ()],
            "topologySpreadConstraints": template.topology_spread_constraints,
            "imagePullSecrets": [{"name": name} for name in template.image_pull_secrets or ()],
        }
    )


def build_image(image: str, template: PodTemplate) -> Manifest:
    """Return a container's image and when to pull it."""
    return without_empty(
        {"image": image, "imagePullPolicy": template.image_pull_policy and str(template.image_pull_policy)}
    )
