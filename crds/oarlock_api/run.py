"""The frozen run: everything that a job resolved to when it was accepted.

Written once into `status.run`; every attempt is built from it, so that an edit of the job, of its Dataset or of the chart's
defaults never changes a run on the way. `WorkerRun` and `ImportRun` are the parts that travel to the pods.
"""

import hashlib
import json
from typing import Annotated, Any

from pydantic import Field

from oarlock_api.v1alpha1.dataset import DatasetSpec, Task
from oarlock_api.v1alpha1.pod_template import PodTemplate
from oarlock_api.v1alpha1.recipe import Recipe
from oarlock_api.v1alpha1.training_job import CheckpointInterval, Code, Elastic, ExportFormat, KeepBest, Model
from oarlock_api.v1alpha1.volumes import RetainPolicy
from oarlock_api.wire import OpenModel

DEFAULT_POD_USER = 65532
"""`nonroot` of the distroless images."""
NOT_IN_TRAINING_HASH = frozenset(
    {
        "epochs",
        "maxSteps",
        "earlyStop",
        "microBatchSize",
        "validation",
        "loader",
        "trace",
        "compile",
        "parallelism",
        "activationCheckpointing",
    }
)
"""Fields of the recipe whose change leaves a checkpoint usable: a longer run, and how the same steps are computed."""


class RunDataset(OpenModel):
    """The data set version that the run trains on."""

    name: str
    """Name of the Dataset."""
    uid: str
    """Its UID."""
    version: str
    """Hash of its content."""
    claim: str
    """PersistentVolumeClaim that holds it."""
    path: str
    """Folder of this version inside the claim."""
    task: Task
    """What is learned from it."""
    sample_shape: list[int]
    """Height, width, channels; of texts, their length."""
    vocabulary_size: int | None = None
    """Of texts: different numbers that there may be."""
    class_count: int
    """Number of classes; 0 where there are none."""
    train_samples: int
    """Training samples."""
    validation_samples: int
    """Validation samples."""


class RunWorkers(OpenModel):
    """The pods of the run."""

    nodes: int
    """Number of pods; of an elastic job, of its first attempt."""
    elastic: Elastic | None = None
    """Bounds between which the number of pods may change from one attempt to the next. Absent: it is fixed."""
    processes_per_node: int
    """Processes in each."""
    gpus_per_node: int
    """GPUs of each pod; 0 on CPU."""
    gpu_resource: str
    """Resource that a GPU is called."""
    cpu: float
    """CPU cores of each pod."""
    memory: str
    """Memory of each pod."""
    image: str
    """Container image."""
    status_port: int
    """Port of the agent."""
    user: int = DEFAULT_POD_USER
    """User and group that the pods run as; 0: the platform assigns them."""
    pod_template: PodTemplate | None = None
    """What is added to the pods."""

    @property
    def most_nodes(self) -> int:
        """Pods that an attempt may have at most."""
        return max(self.nodes, self.elastic.max_nodes) if self.elastic else self.nodes


class RunCheckpoints(OpenModel):
    """Checkpoints of the run."""

    every: CheckpointInterval
    """How often."""
    keep: int
    """How many of the latest are kept."""
    keep_best: KeepBest
    """By which metric the best is kept."""
    ranked: bool | None = None
    """false: none is kept as the best, since a script named no metric; keepBest only fills its place then. Absent: one is."""
    claim: str
    """PersistentVolumeClaim for them."""
    created: bool
    """Whether the operator creates the claim."""
    size: str
    """Size of the claim to create."""
    storage_class: str | None = None
    """Its storage class."""
    access_modes: list[str] = Field(default_factory=list)
    """Its access modes."""
    retain: RetainPolicy
    """What becomes of it."""
    export_formats: list[ExportFormat] | None = None
    """Forms of the trained model besides safetensors."""


class RunScript(OpenModel):
    """The program of the run."""

    command: list[str]
    """Program and arguments."""
    seed: int = 0
    """Its seed."""
    agent_image: str | None = None
    """Image from which the pods copy the agent, process 1 of them. Absent: their own image has it."""


class RunFirstWeights(OpenModel):
    """The weights that the model begins with, if they are not random."""

    claim: str | None = None
    """PersistentVolumeClaim that holds them. Absent: the path is one of the pods themselves."""
    path: str
    """File, or folder of another job's run, inside the claim."""


class Run(OpenModel):
    """Everything that a job resolved to when it was accepted."""

    contract_version: int
    """Version of the agreement with the pods."""
    hash: str
    """Hash of all else but the generation: pods of the run carry it, and two runs that resolve to the same are the same."""
    training_hash: str
    """Hash of data set version, model and recipe: a checkpoint with another one is not resumed."""
    generation: int
    """Generation of the job's spec that was accepted."""
    accepted: dict[str, Any] = Field(default_factory=dict)
    """The part of the spec that is frozen, as it was accepted."""
    dataset: RunDataset | None = None
    """The data. Absent: the program of a script brings its own."""
    model: Model | None = None
    """The model. Absent: the run is a script."""
    recipe: Recipe | None = None
    """The recipe, with every field filled in that has a meaning here. Absent: the run is a script."""
    script: RunScript | None = None
    """The program, instead of model and recipe."""
    code: Code | None = None
    """The user's own Python files."""
    first_weights: RunFirstWeights | None = None
    """Where the model's first weights are. Absent: they are random."""
    steps: Annotated[int, Field(ge=0)]
    """Optimizer steps of the whole run; 0: of a script, which says it itself, or nobody knows."""
    steps_per_epoch: float
    """Optimizer steps of one epoch; not a whole number as a rule, since a batch may straddle two epochs. 0: of a script."""
    workers: RunWorkers
    """The pods."""
    checkpoints: RunCheckpoints
    """The checkpoints."""


class WorkerRun(OpenModel):
    """What a training process needs of the run: the value of OARLOCK_RUN in worker pods."""

    training_hash: str
    """Hash of data set version, model and recipe."""
    dataset_version: str
    """Version that `dataset.json` must name."""
    task: Task
    """What is learned."""
    sample_shape: list[int]
    """Height, width, channels; of texts, their length."""
    vocabulary_size: int | None = None
    """Of texts: different numbers that there may be."""
    class_count: int
    """Number of classes; 0 where there are none."""
    train_samples: int
    """Training samples."""
    model: Model
    """The model."""
    recipe: Recipe
    """The recipe, resolved."""
    steps: int
    """Optimizer steps of the whole run."""
    gpu: bool
    """Whether the processes train on GPUs."""
    checkpoint_every: CheckpointInterval
    """How often to checkpoint: whichever comes first."""
    keep: int
    """How many of the latest checkpoints are kept."""
    keep_best: KeepBest
    """By which metric the best is kept."""
    export_formats: list[ExportFormat] | None = None
    """Forms of the trained model besides safetensors."""

    def to_wire(self) -> dict[str, Any]:
        """Return the JSON form with what was set alone: the image of a run may hold the trainer of a version before.

        That one refuses fields that it does not know, with whatever default; the trainer fills in its own.
        """
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)


class ScriptRun(OpenModel):
    """What `oarlock_trainer.session` needs of the run of a script: the value of OARLOCK_RUN in its pods."""

    training_hash: str = ""
    """Hash of data set version, command and seed."""
    dataset_version: str = ""
    """Version that `dataset.json` must name; empty: there is no Dataset."""
    command: list[str] = Field(default_factory=list)
    """Program and arguments."""
    seed: int = 0
    """Its seed."""
    steps: int = 0
    """Steps of the whole run, once the program has said it."""
    gpu: bool = False
    """Whether the processes have GPUs."""
    checkpoint_every: CheckpointInterval
    """How often to checkpoint: whichever comes first."""
    keep: int
    """How many of the latest checkpoints are kept."""
    keep_best: KeepBest
    """By which metric the best is kept."""
    ranked: bool | None = None
    """false: none is kept as the best, since nobody named a metric. Absent: one is."""


class ImportRun(OpenModel):
    """What an import needs: the value of OARLOCK_RUN in import pods."""

    name: str
    """Name of the Dataset."""
    spec: DatasetSpec
    """Its spec."""
    workers: int
    """Processes that decode and write."""


def content_hash(wire: Any) -> str:
    """Return a short hash of a JSON value, independent of key order."""
    text = json.dumps(wire, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def build_worker_run(run: Run) -> WorkerRun | ScriptRun:
    """Return the part of the run that its training processes need."""
    if run.dataset is None or run.model is None or run.recipe is None:
        return _build_script_run(run)
    return WorkerRun(
        training_hash=run.training_hash,
        dataset_version=run.dataset.version,
        task=run.dataset.task,
        sample_shape=run.dataset.sample_shape,
        vocabulary_size=run.dataset.vocabulary_size,
        class_count=run.dataset.class_count,
        train_samples=run.dataset.train_samples,
        model=run.model,
        recipe=run.recipe,
        steps=run.steps,
        gpu=run.workers.gpus_per_node > 0,
        checkpoint_every=run.checkpoints.every,
        keep=run.checkpoints.keep,
        keep_best=run.checkpoints.keep_best,
        export_formats=run.checkpoints.export_formats,
    )


def _build_script_run(run: Run) -> ScriptRun:
    script = run.script or RunScript(command=[])
    return ScriptRun(
        training_hash=run.training_hash,
        dataset_version=run.dataset.version if run.dataset else "",
        command=script.command,
        seed=script.seed,
        gpu=run.workers.gpus_per_node > 0,
        checkpoint_every=run.checkpoints.every,
        keep=run.checkpoints.keep,
        keep_best=run.checkpoints.keep_best,
        ranked=run.checkpoints.ranked,
    )
