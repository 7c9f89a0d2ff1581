"""The chart's hook as `helm uninstall` runs it: its Job, on a node that runs pods as processes of this machine."""

import sys
from pathlib import Path
from typing import Any

import yaml
from chart.releases import helm

from control_plane.server import ControlPlane

Object = dict[str, Any]

PROGRAM = Path(sys.executable).with_name("oarlock-operator")
"""The entrypoint of the operator's image, in this installation."""


def read_hook(control_plane: ControlPlane, *, namespace: str, release: str) -> Object:
    """Return the Job that is to run before a release goes, as helm has kept it."""
    place = ("--namespace", namespace, "--kubeconfig", str(control_plane.kubeconfig))
    found = helm("get", "hooks", release, *place)
    assert found.returncode == 0, found.stderr
    [job] = [each for each in yaml.safe_load_all(found.stdout) if each]
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete"
    hook: Object = job
    return hook


def localise(job: Object, *, node: str, kubeconfig: Path) -> Object:
    """Return the Job with what the container's image and the mounted token are elsewhere; all else stays the chart's."""
    spec = job["spec"]["template"]["spec"]
    [container] = spec["containers"]
    account = {"name": "KUBECONFIG", "value": str(kubeconfig)}
    local = {**container, "command": [str(PROGRAM)], "env": [*container["env"], account]}
    pod = {**spec, "containers": [local], "automountServiceAccountToken": False}
    pod["nodeSelector"] = {**spec.get("nodeSelector", {}), "kubernetes.io/hostname": node}
    template = {**job["spec"]["template"], "spec": pod}
    return {**job, "spec": {**job["spec"], "template": template}}
