"""Kubeconfig files: written for our own control plane and for service accounts, read for an existing cluster. They are
written as JSON, which is YAML too."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from control_plane.errors import ControlPlaneError


@dataclass(frozen=True, kw_only=True, slots=True)
class Kubeconfig:
    """The current context of a kubeconfig file, with the cluster and user it names."""

    cluster: dict[str, Any]
    user: dict[str, Any]
    namespace: str = "default"

    @property
    def server(self) -> str:
        return str(self.cluster["server"])

    @property
    def host(self) -> str | None:
        return urlsplit(self.server).hostname


def read_kubeconfig(path: Path) -> Kubeconfig:
    try:
        document = yaml.safe_load(path.read_text())
        context = _find(document["contexts"], document["current-context"])["context"]
        cluster = _find(document["clusters"], context["cluster"])["cluster"]
        user = _find(document["users"], context["user"])["user"]
    except (OSError, yaml.YAMLError, KeyError, TypeError, StopIteration) as error:
        raise ControlPlaneError(
            f"{path} is no usable kubeconfig ({type(error).__name__}: {error}); "
            "`kubectl config view --minify --flatten` of a working one writes a file that is"
        ) from error
    return Kubeconfig(cluster=cluster, user=user, namespace=context.get("namespace", "default"))


def write_kubeconfig(path: Path, kubeconfig: Kubeconfig) -> Path:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "oarlock-test",
        "clusters": [{"name": "oarlock-test", "cluster": kubeconfig.cluster}],
        "users": [{"name": "oarlock-test", "user": kubeconfig.user}],
        "contexts": [
            {
                "name": "oarlock-test",
                "context": {
                    "cluster": "oarlock-test",
                    "user": "oarlock-test",
                    "namespace": kubeconfig.namespace,
                },
            }
        ],
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(document, indent=2))
    return path


def _find(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)
