"""One launch of our own components: their files, their processes, and how each shows that it serves."""

import base64
import ssl
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from control_plane import ports
from control_plane.api import Api
from control_plane.binaries import Binaries
from control_plane.certificates import Authority, write_service_account_keys
from control_plane.components import (
    APISERVER,
    COMPONENTS,
    CONTROLLER_MANAGER,
    ETCD,
    SCHEDULER,
    Layout,
    Settings,
    build_command,
)
from control_plane.errors import ControlPlaneError
from control_plane.kubeconfigs import Kubeconfig, write_kubeconfig
from control_plane.processes import Process
from control_plane.readiness import is_serving, wait_for

_PATIENCE = 60.0
# The first start waits a second or two in these before it calls itself ready. Requests of cluster administrators, such as
# controller manager and scheduler are here, need neither the default roles nor the default priority classes.
_FIRST_START_ONLY = ("rbac/bootstrap-roles", "scheduling/bootstrap-system-priority-classes")


class Launch:
    """The processes of one control plane in one folder. Components that have no program are left out."""

    def __init__(self, folder: Path, programs: Binaries, settings: Settings, *, wanted: Sequence[str]) -> None:
        self.layout = _write_layout(folder, programs)
        self.seconds: dict[str, float] = {}
        self.processes = {
            component: Process(
                component, build_command(component, program, self.layout, settings), folder / f"{component}.log"
            )
            for component in COMPONENTS
            if component in wanted and (program := programs.find(component))
        }
        self._tls = ssl.create_default_context(cafile=str(self.layout.authority))
        self._api = Api.from_kubeconfig(self.layout.kubeconfig)

    def process(self, component: str) -> Process:
        if component not in self.processes:
            raise ControlPlaneError(f"there is no {component} here; there are {', '.join(self.processes)}")
        return self.processes[component]

    def start(self, *components: str) -> None:
        """Start components side by side, and return when all of them serve."""
        began = time.monotonic()
        there = [component for component in components if component in self.processes]
        for component in there:
            self.processes[component].start()
        for component in there:
            self.wait_until_serving(component)
            self.seconds[component] = time.monotonic() - began

    def stop(self) -> None:
        # Nothing of what they hold is wanted any more, so none is given time; the clients go before their server.
        for process in reversed(self.processes.values()):
            process.stop()

    def check(self) -> None:
        for process in self.processes.values():
            process.check()

    def wait_until_serving(self, component: str) -> None:
        """Return when a component answers its health check, the API server already to administrators only."""
        self._wait(component, f"{component} serves", lambda: self._is_serving(component))

    def wait_until_ready(self) -> None:
        """Return when the API server serves everybody."""
        if APISERVER in self.processes:
            self._wait(APISERVER, f"{APISERVER} is ready", lambda: self._answers("/readyz"))

    def _wait(self, component: str, what: str, is_true: Callable[[], bool]) -> None:
        describe = self.processes[component].build_log_excerpt
        wait_for(what, is_true, check=self.check, describe=describe, timeout=_PATIENCE)

    def describe(self) -> str:
        return "\n".join(process.build_log_excerpt(8) for process in self.processes.values())

    def _is_serving(self, component: str) -> bool:
        if component == ETCD:
            return is_serving(self.layout.etcd_port, "/health", tls=None)
        if component == APISERVER:
            return self._answers("/readyz?" + "&".join(f"exclude=poststarthook/{name}" for name in _FIRST_START_ONLY))
        port = {
            CONTROLLER_MANAGER: self.layout.controller_manager_port,
            SCHEDULER: self.layout.scheduler_port,
        }[component]
        return is_serving(port, "/healthz", tls=self._tls)

    def _answers(self, path: str) -> bool:
        try:
            return self._api.ask("GET", path).ok
        except OSError:
            return False


def _write_layout(folder: Path, programs: Binaries) -> Layout:
    authority = Authority(folder / "certificates")
    certificate, key = authority.write_server_certificate("server")
    account_key, account_public_key = write_service_account_keys(authority.folder)
    etcd, peer, apiserver, controller_manager, scheduler = ports.pick_free_ports(5)
    return Layout(
        folder=folder,
        certificate=certificate,
        key=key,
        authority=authority.certificate_file,
        service_account_key=account_key,
        service_account_public_key=account_public_key,
        kubeconfig=_write_admin_kubeconfig(folder, authority, apiserver),
        etcd_port=etcd,
        etcd_peer_port=peer,
        apiserver_port=apiserver,
        controller_manager_port=controller_manager,
        scheduler_port=scheduler,
        minor_version=programs.minor_version,
    )


def _write_admin_kubeconfig(folder: Path, authority: Authority, port: int) -> Path:
    """Controller manager and scheduler use it too: their rights are not what is tested."""
    certificate, key = authority.write_client_certificate("admin", user="oarlock-admin", group="system:masters")
    cluster = {
        "server": f"https://127.0.0.1:{port}",
        "certificate-authority-data": _encode(authority.certificate_file),
    }
    user = {"client-certificate-data": _encode(certificate), "client-key-data": _encode(key)}
    return write_kubeconfig(folder / "admin.kubeconfig", Kubeconfig(cluster=cluster, user=user))


def _encode(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
