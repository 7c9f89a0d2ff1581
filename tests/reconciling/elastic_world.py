"""A world in which there is room for so many pods and no more, and a job that may have one to four nodes."""

from dataclasses import dataclass, field, replace
from typing import Any

from reconciling.job_states import make_spec, run_pod
from reconciling.job_world import JobWorld

from oarlock_api.contract import NODES_ENV
from oarlock_operator import names
from oarlock_operator.reconcile.observed import ObservedPod, WorkerReport

MOST = 4
NO_ROOM = "0/4 nodes are available: 4 Insufficient nvidia.com/gpu."


@dataclass
class ElasticWorld(JobWorld):
    """Each node takes one pod; `room` says how many nodes there are."""

    nodes: int = 3
    room: int = MOST
    eta: float = 36_000.0
    sizes: dict[int, int] = field(default_factory=dict)
    """What the workers of each attempt were told of their number."""

    def build_spec(self) -> dict[str, Any]:
        workers = {"nodes": self.nodes, "elastic": {"minNodes": 1, "maxNodes": MOST}}
        policy = {"suspend": self.suspend, **self.policy}
        return make_spec(run_policy=policy, workers=workers, model=self.build_model())

    def _report(self) -> WorkerReport | None:
        report = super()._report()
        said = report.status if report else None
        return replace(report, status=replace(said, eta_seconds=self.eta)) if report and said else report

    @property
    def size(self) -> int:
        """How many nodes the attempt has, as its status says."""
        if self.status.gang:
            return self.status.gang.nodes
        return int(self.status.run["workers"]["nodes"]) if self.status.run else 0

    def is_worker(self, pod: ObservedPod) -> bool:
        return super().is_worker(pod) and pod.rank < self.size

    def scale(self, nodes: int) -> None:
        self.nodes, self.generation, self.version = nodes, self.generation + 1, self.version + 1

    def run_pods(self) -> None:
        """Schedule in the order of creation, and run what has a node."""
        for pod in [*self.pods.values()]:
            if pod.phase != "Pending" or pod.deleting or not self.has_volumes(pod):
                continue
            taken = {each.node for each in self.pods.values() if each.phase in ("Pending", "Running")}
            free = [node for node in self._usable() if node not in taken]
            self.pods[pod.name] = (
                run_pod(pod, node=free[0], scheduled_at=self.now, started=self.now)
                if free
                else replace(pod, unschedulable=NO_ROOM)
            )

    def _usable(self) -> list[str]:
        nodes = [f"node-{number}" for number in range(self.room)]
        return [node for node in nodes if node not in self.lost_nodes]

    def _create_pod(self, manifest: dict[str, Any]) -> None:
        super()._create_pod(manifest)
        labels = manifest["metadata"]["labels"]
        attempt, rank = int(labels[names.ATTEMPT_LABEL]), int(labels[names.RANK_LABEL])
        if labels[names.ROLE_LABEL] == names.SCOUT_ROLE:
            assert self.size <= rank < MOST, "a scout in the place of a worker"
            return
        told = {each["name"]: each.get("value") for each in manifest["spec"]["containers"][0]["env"]}[NODES_ENV]
        assert int(told) == self.sizes.setdefault(attempt, int(told)) == self.size, "a gang of several sizes"
        assert 1 <= self.size <= MOST
        assert rank < self.size

    def end_lost(self) -> None:
        """Let the pods on lost nodes be forgotten, as by the pod garbage collector."""
        self.pods = {name: pod for name, pod in self.pods.items() if pod.node not in self.lost_nodes}

    def workers(self) -> list[ObservedPod]:
        return [pod for pod in self.pods.values() if self.is_worker(pod)]

    def scouts(self) -> list[ObservedPod]:
        return [pod for pod in self.pods.values() if super(ElasticWorld, self).is_worker(pod) and pod.rank >= self.size]

    def go_on(self, seconds: float = 0.0) -> None:
        """Let time pass, and everybody do what there is to do."""
        self.now += seconds
        for _ in range(8):
            self.run_pods()
            self.end_deleted()
            self.reconcile(self.observe())
            self.check()
