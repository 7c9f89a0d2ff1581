"""A real Kubernetes control plane for one test run: etcd, API server, controller manager and scheduler as processes of this
one, in a folder of their own, gone without a trace when the run ends, however it ends. With `OARLOCK_TEST_KUBECONFIG` the
same class stands for an existing cluster, which it starts and stops nothing of."""

import atexit
import contextlib
import itertools
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from control_plane import audit, binaries, launch, progress, run_folders
from control_plane.api import Api
from control_plane.components import APISERVER, COMPONENTS, CONTROLLER_MANAGER, ETCD, SCHEDULER, Settings
from control_plane.errors import ControlPlaneError
from control_plane.features import Feature, find_features
from control_plane.kubeconfigs import Kubeconfig, read_kubeconfig, write_kubeconfig
from control_plane.network import FlakyNetwork
from control_plane.readiness import wait_for

_STARTS = 3
_PATIENCE = 60.0
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


class ControlPlane:
    """Start with `with ControlPlane() as control_plane:`, or with `start()` and `stop()`.

    `crds` are in place before the controller manager starts, which then collects their garbage from the first second on;
    it takes up to 30 seconds to notice those that are made later. Fewer `components` start faster: etcd and the API
    server alone keep objects, but nothing happens to them.
    """

    def __init__(
        self,
        *,
        node_monitor_grace: float = 10,
        eviction_delay: int = 5,
        crds: Sequence[Mapping[str, Any]] = (),
        components: Sequence[str] = COMPONENTS,
        audits: bool = False,
        flags: Mapping[str, Sequence[str]] | None = None,
        say: progress.Say = progress.say,
    ) -> None:
        self.settings = Settings(
            node_monitor_grace=node_monitor_grace, eviction_delay=eviction_delay, audits=audits, flags=flags or {}
        )
        self.kubeconfig: Path
        self.api: Api
        self._crds, self._wanted, self._say = crds, components, say
        self._external = binaries.find_external_kubeconfig()
        self._folder: run_folders.RunFolder | None = None
        self._launch: launch.Launch | None = None
        self._numbers = itertools.count(1)

    def start(self) -> Self:
        """Start all components and return when they serve; find or build their programs first."""
        for folder in run_folders.sweep_dead():
            self._say(f"removed {folder}, left behind by a test run that was killed")
        atexit.register(self.stop)
        try:
            self._attach(self._external) if self._external else self._start_own()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop what was started, and remove the folder; repeated calls do nothing."""
        atexit.unregister(self.stop)
        if self._launch:
            self._launch.stop()
        if self._folder:
            self._folder.remove()
        self._launch = self._folder = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def is_external(self) -> bool:
        """An existing cluster: its components cannot be stopped, and it may hold other people's objects."""
        return self._external is not None

    @property
    def folder(self) -> Path:
        """The folder of this control plane; it goes away with it."""
        if not self._folder:
            raise ControlPlaneError("the control plane is not running; call start() first")
        return self._folder.path

    @property
    def components(self) -> Sequence[str]:
        """The components that were started: none for an existing cluster, which is expected to have them all."""
        return list(self._launch.processes) if self._launch else []

    @property
    def pids(self) -> dict[str, int]:
        processes = self._launch.processes if self._launch else {}
        return {name: process.pid for name, process in processes.items() if process.pid and process.is_running()}

    @cached_property
    def version(self) -> str:
        """The server's version, such as 1.20.2."""
        return str(self.api.get("/version")["gitVersion"]).removeprefix("v")

    @cached_property
    def features(self) -> frozenset[Feature]:
        """Which of cel, podSecurity, schedulingGates and policyV1 the server has."""
        return find_features(self.api)

    def requests_of(self, user: str) -> frozenset[audit.Request]:
        """Return what a user has asked the API server for so far.

        Raises:
            ControlPlaneError: if this is an existing cluster, or one that was started without `audits`.
        """
        if not self._folder or self.is_external or not self.settings.audits:
            raise ControlPlaneError("this API server keeps no audit log for us; start a control plane with audits=True")
        return audit.read_requests(self.folder, user=user)

    def logs(self, component: str) -> str:
        return self._own.process(component).read_log()

    def check(self) -> None:
        """Raise an error with the end of its log if a component died on its own."""
        if self._launch:
            self._launch.check()

    def stop_apiserver(self, *, grace: float = 0) -> None:
        """Kill the API server; with `grace` it gets so many seconds to end in order, all of which open watches take."""
        self.stop_component(APISERVER, grace=grace)

    def start_apiserver(self) -> None:
        self.start_component(APISERVER)

    def restart_apiserver(self, *, grace: float = 0) -> None:
        self.stop_apiserver(grace=grace)
        self.start_apiserver()

    def stop_component(self, component: str, *, grace: float = 0) -> None:
        self._own.process(component).stop(grace=grace)

    def start_component(self, component: str) -> None:
        """Start a stopped component again, with its old data on its old port, and return when it serves."""
        self._own.process(component).start()
        self._own.wait_until_serving(component)

    def pause(self, component: str) -> None:
        """Freeze a component: it holds its connections and answers nothing."""
        self._own.process(component).signal(signal.SIGSTOP)

    def resume(self, component: str) -> None:
        self._own.process(component).signal(signal.SIGCONT)

    @contextlib.contextmanager
    def flaky_network(self, kubeconfig: Path | None = None) -> Iterator[tuple[FlakyNetwork, Path]]:
        """Yield a network that can fail, and a kubeconfig that leads through it."""
        original = read_kubeconfig(kubeconfig or self.kubeconfig)
        with FlakyNetwork(original.server) as network:
            cluster = {**original.cluster, "server": f"https://127.0.0.1:{network.port}"}
            if self.is_external:
                cluster.setdefault("tls-server-name", original.host)
            through = Kubeconfig(cluster=cluster, user=original.user, namespace=original.namespace)
            yield network, write_kubeconfig(self._next_file("flaky"), through)

    def kubeconfig_for_service_account(self, namespace: str, name: str, *, seconds: int = 3600) -> Path:
        """Write a kubeconfig with a token of that service account, which must exist; it is bound to nothing by itself."""
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds},
        }
        answer = self.api.create(f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", request)
        cluster = read_kubeconfig(self.kubeconfig).cluster
        user = {"token": answer["status"]["token"]}
        kubeconfig = Kubeconfig(cluster=cluster, user=user, namespace=namespace)
        return write_kubeconfig(self._next_file(f"{namespace}-{name}"), kubeconfig)

    def create_namespace(self, name: str) -> str:
        """Create a namespace and return its name once pods can be created in it."""
        self.api.create("/api/v1/namespaces", {"metadata": {"name": name}})
        if self.is_external or CONTROLLER_MANAGER in self.components:
            self._wait_for_default_account(name)
        return name

    @property
    def _own(self) -> launch.Launch:
        if self._launch:
            return self._launch
        raise ControlPlaneError(
            f"the cluster of {binaries.KUBECONFIG_ENV} is not ours to stop or inspect; unset it for this test"
            if self.is_external
            else "the control plane is not running; call start() first"
        )

    def _attach(self, kubeconfig: Path) -> None:
        self._folder = run_folders.RunFolder()
        self.kubeconfig, self.api = kubeconfig, Api.from_kubeconfig(kubeconfig)
        self._say(f"using the existing cluster {self.api.server}, Kubernetes {self.version}")
        self._create_crds()

    def _start_own(self) -> None:
        programs = binaries.find_or_build(self._say)
        if programs.missing:
            self._say(
                f"without {' and '.join(programs.missing)}: {programs.origin} has none, tests of them are not run"
            )
        for attempt in range(1, _STARTS + 1):
            try:
                self._start_components(programs)
            except ControlPlaneError as error:
                # Another process may have taken a port between our choice and the component's start.
                if attempt == _STARTS or "address already in use" not in str(error):
                    raise
                self.stop()
            else:
                return

    def _start_components(self, programs: binaries.Binaries) -> None:
        began = time.monotonic()
        self._folder = run_folders.RunFolder()
        self._launch = launch.Launch(self._folder.path, programs, self.settings, wanted=self._wanted)
        self.kubeconfig = self._launch.layout.kubeconfig
        self.api = Api.from_kubeconfig(self.kubeconfig)
        self._launch.start(ETCD)
        self._launch.start(APISERVER)
        self._create_crds()
        self._launch.start(CONTROLLER_MANAGER, SCHEDULER)
        self._launch.wait_until_ready()
        if CONTROLLER_MANAGER in self.components:
            self._wait_for_default_account("default")
        took = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self._launch.seconds.items())
        self._say(f"Kubernetes {programs.version} is ready after {time.monotonic() - began:.1f} s ({took})")

    def _create_crds(self) -> None:
        for crd in self._crds:
            if not self.api.exists(f"{_CRDS}/{crd['metadata']['name']}"):
                self.api.create(_CRDS, crd)
        for crd in self._crds:
            name = crd["metadata"]["name"]
            self._wait(f"the API server serves {name}", lambda name=name: self._is_established(name))

    def _is_established(self, crd: str) -> bool:
        conditions = self.api.get(f"{_CRDS}/{crd}").get("status", {}).get("conditions") or []
        return any(condition["type"] == "Established" and condition["status"] == "True" for condition in conditions)

    def _wait_for_default_account(self, namespace: str) -> None:
        """Servers before 1.24 refuse pods until the service account has its token in a secret."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
        needs_secret = int(self.version.split(".")[1]) < 24

        def is_there() -> bool:
            answer = self.api.ask("GET", path)
            return answer.ok and (not needs_secret or bool(answer.body.get("secrets")))

        self._wait(f"the controller manager makes the default service account of {namespace}", is_there)

    def _wait(self, what: str, is_true: Any) -> None:
        describe = self._launch.describe if self._launch else lambda: ""
        wait_for(what, is_true, check=self.check, describe=describe, timeout=_PATIENCE)

    def _next_file(self, name: str) -> Path:
        return self.folder / f"{name}-{next(self._numbers)}.kubeconfig"
