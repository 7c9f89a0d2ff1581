"""A real helm, and what it renders and installs."""

import subprocess
from pathlib import Path
from typing import Any

import yaml

from control_plane.server import ControlPlane
from control_plane.tools import helm_path

CHART = Path(__file__).parents[2] / "charts/oarlock"
RELEASE = "oarlock"


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(helm_path()), *arguments], capture_output=True, text=True, check=False)


def render(*values: str) -> list[dict[str, Any]]:
    """Return the objects of the chart with `--set` values."""
    sets = [argument for value in values for argument in ("--set", value)]
    # helm assumes a version of the API server where it talks to none.
    rendered = helm("template", RELEASE, str(CHART), "--namespace", "oarlock-system", "--kube-version", "1.25.0", *sets)
    assert rendered.returncode == 0, rendered.stderr
    return [manifest for manifest in yaml.safe_load_all(rendered.stdout) if manifest]


def install(
    control_plane: ControlPlane, *, namespace: str, values: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Install the chart without operator pods: the tests run the operator themselves, under the chart's account."""
    sets = [argument for value in ("replicas=0", *values) for argument in ("--set", value)]
    # A server without CEL knows no rules in schemas, and says so unless it is told not to look.
    old = [] if "cel" in control_plane.features else ["--server-side=false", "--disable-openapi-validation"]
    return helm(
        "install",
        RELEASE,
        str(CHART),
        "--namespace",
        namespace,
        "--kubeconfig",
        str(control_plane.kubeconfig),
        "--take-ownership",  # the definitions may be there already
        *old,
        *sets,
    )


def uninstall(
    control_plane: ControlPlane, *, namespace: str, release: str = RELEASE
) -> subprocess.CompletedProcess[str]:
    """Uninstall the chart without its hook, which needs a node that runs pods: see `chart.hooks`."""
    place = ("--namespace", namespace, "--kubeconfig", str(control_plane.kubeconfig))
    return helm("uninstall", release, "--no-hooks", *place)
