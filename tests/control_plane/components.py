"""The command lines of the four components: files and ports come in, argument lists go out.

Two kinds of settings differ from a production cluster: durability (a test run's data may be lost) and patience (a lost
node is noticed within seconds). Authorization, admission and the API are as shipped.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from control_plane.audit import build_audit_flags

ETCD = "etcd"
APISERVER = "kube-apiserver"
CONTROLLER_MANAGER = "kube-controller-manager"
SCHEDULER = "kube-scheduler"
COMPONENTS = (ETCD, APISERVER, CONTROLLER_MANAGER, SCHEDULER)

# From this minor version on, the insecure ports and the flags that switch them off are gone.
_NO_INSECURE_PORTS = 24


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What a test may change. Times are in seconds."""

    node_monitor_grace: float = 10
    """A node that was silent for so long is marked Unknown, and its pods are to be evicted."""
    eviction_delay: int = 5
    """A pod stays so long on a node that is lost or not ready (the default toleration)."""
    audits: bool = False
    """Whether the API server notes what service accounts ask for."""
    flags: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """More flags by component, after ours: the last one wins."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """The files and ports of one control plane."""

    folder: Path
    certificate: Path
    key: Path
    authority: Path
    service_account_key: Path
    service_account_public_key: Path
    kubeconfig: Path
    etcd_port: int
    etcd_peer_port: int
    apiserver_port: int
    controller_manager_port: int
    scheduler_port: int
    minor_version: int


def build_command(component: str, program: Path, layout: Layout, settings: Settings) -> list[str]:
    build = {
        ETCD: build_etcd_flags,
        APISERVER: build_apiserver_flags,
        CONTROLLER_MANAGER: build_controller_manager_flags,
        SCHEDULER: build_scheduler_flags,
    }[component]
    return [str(program), *build(layout, settings), *settings.flags.get(component, ())]


def build_etcd_flags(layout: Layout, _settings: Settings) -> list[str]:
    client, peer = (f"http://127.0.0.1:{port}" for port in (layout.etcd_port, layout.etcd_peer_port))
    return [
        "--name=oarlock-test",
        f"--data-dir={layout.folder / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=oarlock-test={peer}",
        # One member elects itself: no reason to wait a second for others.
        "--heartbeat-interval=50",
        "--election-timeout=250",
        "--snapshot-count=10000",
        "--log-level=warn",
        "--logger=zap",
    ]


def build_apiserver_flags(layout: Layout, settings: Settings) -> list[str]:
    return [
        f"--etcd-servers=http://127.0.0.1:{layout.etcd_port}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        f"--secure-port={layout.apiserver_port}",
        f"--cert-dir={layout.folder / 'apiserver'}",
        f"--tls-cert-file={layout.certificate}",
        f"--tls-private-key-file={layout.key}",
        f"--client-ca-file={layout.authority}",
        "--anonymous-auth=false",
        "--authorization-mode=Node,RBAC",
        "--allow-privileged=true",
        "--service-cluster-ip-range=10.0.0.0/16",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-signing-key-file={layout.service_account_key}",
        f"--service-account-key-file={layout.service_account_public_key}",
        f"--default-not-ready-toleration-seconds={settings.eviction_delay}",
        f"--default-unreachable-toleration-seconds={settings.eviction_delay}",
        "--watch-cache=true",
        "--profiling=false",
        *(build_audit_flags(layout.folder) if settings.audits else ()),
    ]


def build_controller_manager_flags(layout: Layout, settings: Settings) -> list[str]:
    return [
        *_build_client_flags(layout, port=layout.controller_manager_port),
        f"--service-account-private-key-file={layout.service_account_key}",
        f"--root-ca-file={layout.authority}",
        "--use-service-account-credentials=false",
        "--node-monitor-period=1s",
        f"--node-monitor-grace-period={settings.node_monitor_grace}s",
        f"--node-startup-grace-period={settings.node_monitor_grace}s",
        # As shipped, the pods of one lost node are evicted every ten seconds, of a small cluster's second one never.
        "--node-eviction-rate=100",
        "--secondary-node-eviction-rate=100",
        "--large-cluster-size-threshold=0",
        "--pvclaimbinder-sync-period=1s",
        "--namespace-sync-period=30s",
        "--concurrent-namespace-syncs=5",
    ]


def build_scheduler_flags(layout: Layout, _settings: Settings) -> list[str]:
    return _build_client_flags(layout, port=layout.scheduler_port)


def _build_client_flags(layout: Layout, *, port: int) -> list[str]:
    return [
        f"--kubeconfig={layout.kubeconfig}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--tls-cert-file={layout.certificate}",
        f"--tls-private-key-file={layout.key}",
        "--leader-elect=false",
        "--profiling=false",
        # Lifted: the tests measure our operator, not the brakes of the others.
        "--kube-api-qps=5000",
        "--kube-api-burst=10000",
        *(["--port=0"] if layout.minor_version < _NO_INSECURE_PORTS else []),
    ]
