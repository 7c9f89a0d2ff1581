"""`TrainingJob`: a model, a recipe, the workers that train it, and where its checkpoints go."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from oarlock_api.v1alpha1.pod_template import PodTemplate, Resources
from oarlock_api.v1alpha1.recipe import Count, RankableMetric, Recipe
from oarlock_api.v1alpha1.values import (
    OBJECT_NAME_MAX_LENGTH,
    OBJECT_NAME_PATTERN,
    WEIGHTS_PATTERN,
    EpochInterval,
    InnerPath,
    ObjectName,
    ShortText,
)
from oarlock_api.v1alpha1.volumes import VolumeSpec
from oarlock_api.wire import WireModel

OarlockName = Annotated[str, Field(min_length=1, max_length=OBJECT_NAME_MAX_LENGTH, pattern=OBJECT_NAME_PATTERN)]
Seconds = Annotated[int, Field(ge=1, le=31_536_000)]
ModelName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.\-]+$")]


class DatasetReference(WireModel):
    """The Dataset to train on."""

    name: OarlockName
    """Name of a Dataset in the same namespace. The job waits until it is Ready."""
    version: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[0-9a-f]+$")] | None = None
    """Version that the data must have. Absent: the one that is Ready when the job is accepted."""


class LibraryModel(WireModel):
    """A model of a library, by its name there."""

    name: ModelName
    """Name of the model."""
    weights: Annotated[str, Field(min_length=1, max_length=1024, pattern=WEIGHTS_PATTERN)] | None = None
    """Pretrained weights: a safetensors or PyTorch file, by its path on the checkpoint volume, or by its path in the pods if that
    begins with a slash: /oarlock/data is the data volume. Nothing is downloaded. Absent: the weights are random."""


class PythonModel(WireModel):
    """A model made by a function of your own."""

    module: Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[A-Za-z_][A-Za-z0-9_.]*$")]
    """Module to import: of the image, or a file of spec.code."""
    factory: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    """Function in it that returns a torch.nn.Module. It gets, as keyword arguments, what it asks for by name: outputs or classes
    (size of the last layer), sample_shape (height, width, channels; of texts their length), vocabulary."""
    arguments: Annotated[
        dict[str, Any], Field(max_length=64, json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})
    ] = Field(default_factory=dict)
    """Further keyword arguments of the function."""


class KeptCheckpoint(StrEnum):
    """Which of the checkpoints that a job has left."""

    BEST = "Best"
    LATEST = "Latest"


class InitFrom(WireModel):
    """Where the first weights come from: a checkpoint of another job, or a file. A last layer of another size is left out."""

    job: OarlockName | None = None
    """A TrainingJob of this namespace, whose best weights are taken, unless checkpoint or step says otherwise. The job waits until
    that one has finished."""
    checkpoint: KeptCheckpoint | None = None
    """Which weights of that job: the Best by its keepBest, or the Latest that were saved. Absent: the Best, unless step is given."""
    step: Count | None = None
    """The weights after this step of that job, instead. It has checkpoints of the last steps that it saved (checkpoints.keep), and
    of the best; one that is not there is refused when training starts, with those that are."""
    path: InnerPath | None = None
    """A safetensors or PyTorch file on the checkpoint volume."""
    match: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    """Regular expression: only parameters and buffers whose whole names in the new model match are taken, and each of them must
    be there: backbone.* for one. Absent: all are, and nothing else may be there."""


class Model(WireModel):
    """The model: exactly one of name, torchvision, timm, python."""

    name: ModelName | None = None
    """A built-in model: for classes of images lenet, mlp, resnet, alexnet, googlenet, vgg11, vgg16, resnet18, resnet34, resnet50,
    and siamese for pairs; for maps unet, unet-small, fcn, autoencoder; for boxes centernet, centernet-small; for texts textcnn,
    lstm, gru, transformer."""
    torchvision: LibraryModel | None = None
    """A model of torchvision that classifies or segments images, if the image has torchvision."""
    timm: LibraryModel | None = None
    """A model of timm that classifies images, if the image has timm."""
    python: PythonModel | None = None
    """A model of your own."""
    init_from: InitFrom | None = None
    """Where the first weights come from. Absent: they are random."""


class Elastic(WireModel):
    """Bounds between which the number of nodes may change while the job runs."""

    min_nodes: Annotated[int, Field(ge=1, le=1024)]
    """Fewest nodes with which training goes on."""
    max_nodes: Annotated[int, Field(ge=1, le=1024)]
    """Most nodes that `nodes` may be raised to."""


class Workers(WireModel):
    """The pods that train: one a node."""

    nodes: Annotated[int, Field(ge=1, le=1024)] = 1
    """Number of pods, each on a node of its own if it takes the node's GPUs. With elastic: how many are wanted; `kubectl scale`
    changes it."""
    elastic: Elastic | None = None
    """Bounds between which the number of nodes may change: the job goes on with fewer nodes than wanted while there is no room
    for more. Absent: it is fixed."""
    gpus_per_node: Annotated[int, Field(ge=0, le=64)] | None = None
    """GPUs of each pod; one process runs on each. 0: CPU. Absent: what the administrator configured, as a rule 0."""
    processes_per_node: Annotated[int, Field(ge=1, le=256)] | None = None
    """Processes of each pod, on CPU only. Absent: 1."""
    gpu_resource: Annotated[str, Field(min_length=3, max_length=253, pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$")] = (
        "nvidia.com/gpu"
    )
    """Resource that a GPU is called on the cluster: another vendor's, or a MIG slice such as nvidia.com/mig-1g.10gb."""
    resources: Resources | None = None
    """CPU and memory of each pod."""
    pod_template: PodTemplate | None = None
    """What is added to the pods."""


class CheckpointInterval(WireModel):
    """How often to checkpoint: whichever of these comes first."""

    minutes: Annotated[float, Field(gt=0, le=10_080)] | None = None
    """Minutes since the last checkpoint."""
    epochs: EpochInterval | None = None
    """Epochs since the last checkpoint: 0.5 is half an epoch."""
    steps: Count | None = None
    """Steps since the last checkpoint."""


class KeepBest(WireModel):
    """Keeps the best checkpoint besides the latest ones."""

    metric: RankableMetric
    """By which metric."""


class ExportFormat(StrEnum):
    """A form of the trained model."""

    SAFETENSORS = "safetensors"
    ONNX = "onnx"
    TORCH_EXPORT = "torchExport"


class Export(WireModel):
    """In which forms the trained model is written."""

    formats: Annotated[list[ExportFormat], Field(min_length=1, max_length=3)]
    """safetensors: weights, with a description beside them; always written. onnx and torchExport: one file each that holds the
    preparation, the model and the class names, from stored samples to probabilities; what cannot be written so is a warning."""


class Checkpoints(WireModel):
    """When checkpoints are written, which are kept, and where."""

    every: CheckpointInterval | None = None
    """How often. Absent: every epoch or 10 minutes, whichever comes first."""
    keep: Annotated[int, Field(ge=1, le=1000)] = 3
    """How many of the latest checkpoints are kept."""
    keep_best: KeepBest | None = None
    """Absent: with a model the best by the task's own metric is kept, with a script none."""
    export: Export | None = None
    """In which forms the trained model is written. Absent: as safetensors."""
    volume: VolumeSpec = VolumeSpec()
    """The volume for checkpoints, logs and the exported model."""


class CleanPodPolicy(StrEnum):
    """Which pods of a finished job are removed."""

    ALL = "All"
    RUNNING = "Running"
    NONE = "None"


class SuccessPolicy(StrEnum):
    """When a job has succeeded."""

    ALL_NODES = "AllNodes"
    FIRST_NODE = "FirstNode"


class RunPolicy(WireModel):
    """How the run is treated by the operator. These fields may change while the job runs."""

    suspend: bool = False
    """true checkpoints and removes the pods; back to false resumes."""
    backoff_limit: Annotated[int, Field(ge=0, le=1000)] = 3
    """New attempts after failures that count, before the job is Failed."""
    startup_deadline_seconds: Seconds = 600
    """Seconds from the creation of the pods to the first step."""
    progress_deadline_seconds: Seconds | None = None
    """Seconds without a step, a batch of validation or a byte of a checkpoint after which a rank counts as hung. Absent: 600
    with a model; never with a script, whose steps may take any time. A script that reports no progress is never hung."""
    grace_period_seconds: Annotated[int, Field(ge=5, le=86_400)] = 120
    """Seconds that the pods get to checkpoint when they are asked to stop."""
    active_deadline_seconds: Seconds | None = None
    """Seconds that the job may take from its first pod on, over all attempts. Absent: no limit."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=31_536_000)] | None = None
    """Seconds after which a finished job is deleted, with its pods; a claim that is retained stays. Absent: never."""
    clean_pod_policy: CleanPodPolicy = CleanPodPolicy.RUNNING
    """Which pods are removed when the job is finished. Running: those that still run, the others stay for their logs. All: all
    of them. None: none."""
    success_policy: SuccessPolicy = SuccessPolicy.ALL_NODES
    """When the job has succeeded. AllNodes: when all pods have ended well. FirstNode: when the pod of node 0 has."""
    priority: Annotated[int, Field(ge=-1_000_000_000, le=1_000_000_000)] = 0
    """Jobs of a higher priority go first in Oarlock's queue, and preempt jobs of a lower one: those checkpoint and wait again."""
    queue: OarlockName | None = None
    """Queue of another project that decides when the pods start: Kueue's LocalQueue, or Volcano's Queue where the administrator
    hands gangs over to that. Absent: Oarlock's own queue does, or Volcano's default one."""


class Code(WireModel):
    """Python files of your own, without an image of your own: the pods find them in OARLOCK_CODE_DIR and on Python's path."""

    config_map: ObjectName
    """A ConfigMap in the same namespace whose keys are file names. Every attempt takes what is in it when its pods start."""


class Script(WireModel):
    """Any torchrun program, instead of a model and a recipe."""

    command: Annotated[list[ShortText], Field(min_length=1, max_length=256)]
    """Program and arguments, run by torchrun in every process: train.py --flag, from `code` or the image; -m and a module; or
    any other program."""
    image: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    """Image that holds the program, with Python 3.11 or newer and torch. Absent: the trainer image."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Seed that the program finds in OARLOCK_SEED."""


class TrainingJobSpec(WireModel):
    """A model to train on a Dataset."""

    dataset: DatasetReference | None = None
    """The Dataset to train on. A script may have none."""
    model: Model | None = None
    """The model."""
    recipe: Recipe = Recipe()
    """How it is trained."""
    script: Script | None = None
    """Any torchrun program, instead of a model and a recipe."""
    code: Code | None = None
    """Python files of your own: the module of `model.python`, or the program of `script`."""
    workers: Workers = Workers()
    """The pods that train."""
    checkpoints: Checkpoints = Checkpoints()
    """When checkpoints are written, which are kept, and where."""
    run_policy: RunPolicy = RunPolicy()
    """How the run is treated by the operator."""
