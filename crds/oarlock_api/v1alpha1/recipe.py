"""The recipe: how a model is trained. Absent fields are filled in by `oarlock_api.resolve` from the task and the model."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from oarlock_api.metrics import RANKABLE_METRICS
from oarlock_api.v1alpha1.values import Fraction
from oarlock_api.wire import WireModel

PositiveFloat = Annotated[float, Field(gt=0, le=1e6)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
Percent = Annotated[float, Field(ge=0, le=100)]

RankableMetric = StrEnum("RankableMetric", {name.replace("/", "_").upper(): name for name in RANKABLE_METRICS})  # type: ignore[misc]
"""A metric by which checkpoints are ranked."""


class OptimizerName(StrEnum):
    """Optimizers, by their names in torch.optim."""

    SGD = "sgd"
    ADAM = "adam"
    ADAMW = "adamw"
    ADAGRAD = "adagrad"
    ADADELTA = "adadelta"
    ADAMAX = "adamax"
    NADAM = "nadam"
    RMSPROP = "rmsprop"
    MUON = "muon"


class Optimizer(WireModel):
    """The optimizer. Norms and biases get no weight decay unless a parameter group says so."""

    name: OptimizerName = OptimizerName.ADAMW
    """Which optimizer."""
    learning_rate: PositiveFloat | None = None
    """Learning rate at its highest. Absent: 0.05 for sgd, 0.001 for adamw."""
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Momentum of sgd. Absent: 0.9."""
    nesterov: bool = False
    """Nesterov's form of momentum, for sgd."""
    weight_decay: Annotated[float, Field(ge=0, le=10)] | None = None
    """Weight decay. Absent: 0.0005 for sgd, 0.01 for adamw."""
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Decay of the first moment, for the Adam family."""
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay of the second moment, for the Adam family."""
    epsilon: Annotated[float, Field(gt=0, le=1)] = 1e-8
    """Added to the denominator, for the Adam family."""


class ParameterGroup(WireModel):
    """Parameters that are treated differently."""

    match: Annotated[str, Field(min_length=1, max_length=256)]
    """Regular expression that the whole parameter name matches."""
    learning_rate: PositiveFloat | None = None
    """Learning rate of the group at its highest."""
    weight_decay: Annotated[float, Field(ge=0, le=10)] | None = None
    """Weight decay of the group."""
    freeze: bool = False
    """Whether the parameters stay as they are."""


class ScheduleName(StrEnum):
    """Learning-rate schedules: cosine, one-cycle, and the seven of DIGITS."""

    COSINE = "cosine"
    ONE_CYCLE = "oneCycle"
    FIXED = "fixed"
    STEP = "step"
    MULTISTEP = "multistep"
    EXPONENTIAL = "exponential"
    INVERSE = "inverse"
    POLYNOMIAL = "polynomial"
    SIGMOID = "sigmoid"


class Schedule(WireModel):
    """How the learning rate changes. Percentages are of the whole run."""

    name: ScheduleName = ScheduleName.COSINE
    """Which schedule."""
    warmup_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Share of the run in which the learning rate rises linearly from zero."""
    final_fraction: Fraction = 0.0
    """For cosine: the learning rate at the end, as a share of the highest."""
    step_percent: Annotated[float, Field(gt=0, le=100)] = 33.0
    """For step: percentage of the run after which the rate is multiplied by gamma, again and again."""
    step_percents: Annotated[list[Percent], Field(min_length=1, max_length=64)] | None = None
    """For multistep: the percentages of the run at which the rate is multiplied by gamma."""
    gamma: Annotated[float, Field(gt=0, le=10)] = 0.1
    """For step, multistep, exponential, inverse, sigmoid: the factor."""
    power: Annotated[float, Field(gt=0, le=100)] = 1.0
    """For inverse and polynomial: the exponent."""


class LossName(StrEnum):
    """Losses."""

    CROSS_ENTROPY = "crossEntropy"
    BINARY_CROSS_ENTROPY = "binaryCrossEntropy"
    MSE = "mse"
    L1 = "l1"
    DICE = "dice"
    FOCAL = "focal"
    CONTRASTIVE = "contrastive"


class ClassWeights(StrEnum):
    """Weight of each class in the loss."""

    NONE = "none"
    BALANCED = "balanced"


class Loss(WireModel):
    """The loss."""

    name: LossName = LossName.CROSS_ENTROPY
    """Which loss."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the target that is spread over all classes."""
    class_weights: ClassWeights = ClassWeights.NONE
    """balanced weights each class by the inverse of its frequency."""


class Flip(StrEnum):
    """Axes along which images are mirrored, each with probability one half."""

    NONE = "none"
    HORIZONTAL = "horizontal"
    VERTICAL = "vertical"
    BOTH = "both"


class Augment(WireModel):
    """Random changes to training images, made on the device, the same for the same seed and step."""

    shift: Annotated[int, Field(ge=0, le=1024)] = 0
    """Pixels by which an image is moved at most, in each direction; what is uncovered becomes black."""
    flip: Flip = Flip.NONE
    """Mirroring."""
    crop: Annotated[int, Field(ge=1, le=8192)] | None = None
    """Side in pixels of a random square crop."""


class MeanSubtraction(StrEnum):
    """What is subtracted from images before the model sees them; all but none divide by the standard deviation as well."""

    NONE = "none"
    IMAGE = "image"
    PIXEL = "pixel"


class Precision(StrEnum):
    """Number format of the forward and backward pass."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


class Toggle(StrEnum):
    """Whether something is done; auto leaves it to Oarlock, which says what it chose."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class Parallelism(StrEnum):
    """How the model is spread over processes."""

    DDP = "ddp"
    FSDP = "fsdp"


class Weights(StrEnum):
    """Which weights are validated."""

    MODEL = "model"
    EMA = "ema"


class Ema(WireModel):
    """An exponential moving average of the weights."""

    decay: Annotated[float, Field(gt=0, lt=1)] = 0.999
    """Share of the average that is kept at each step."""


class ValidationInterval(WireModel):
    """How often to validate: exactly one of these."""

    epochs: Count | None = None
    """Every so many epochs."""
    steps: Count | None = None
    """Every so many steps."""


class Validation(WireModel):
    """When and on which weights validation runs. It always runs at the end."""

    every: ValidationInterval = ValidationInterval(epochs=1)
    """How often."""
    weights: Weights = Weights.MODEL
    """Which weights."""


class EarlyStop(WireModel):
    """Ends a run that no longer improves."""

    metric: RankableMetric
    """The metric to watch."""
    patience_validations: Count = 5
    """Validations without improvement after which the run ends."""


class Tunable(StrEnum):
    """What the trainer may choose itself."""

    LEARNING_RATE = "learningRate"
    MICRO_BATCH_SIZE = "microBatchSize"


class Loader(WireModel):
    """How samples are read."""

    workers: Annotated[int, Field(ge=0, le=256)] = 0
    """Processes per trainer process that decode samples. Raw images need none."""


class Recipe(WireModel):
    """How the model is trained: one optimizer, one loss."""

    epochs: Annotated[float, Field(gt=0, le=1_000_000)] | None = None
    """Passes over the training samples. Absent, and no maxSteps: 30."""
    max_steps: Count | None = None
    """Optimizer steps, instead of epochs."""
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Samples in one optimizer step, whatever the number of processes. Absent: 128, at most a tenth of the samples."""
    micro_batch_size: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """The most that one process holds at once; gradients are accumulated as needed. Absent: its whole share of the batch."""
    precision: Precision = Precision.AUTO
    """auto: bf16 on GPUs that have it, else fp32."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Seed of initialisation, order and augmentation."""
    deterministic: bool = False
    """Whether only deterministic operations are used, so that a resumed run is bitwise the undisturbed one on GPUs too."""
    optimizer: Optimizer = Optimizer()
    """The optimizer."""
    param_groups: Annotated[list[ParameterGroup], Field(max_length=64)] | None = None
    """Parameters that are treated differently; the first match counts."""
    schedule: Schedule = Schedule()
    """How the learning rate changes."""
    loss: Loss | None = None
    """The loss. Absent: that of the task."""
    augment: Augment = Augment()
    """Random changes to training images."""
    mean_subtraction: MeanSubtraction = MeanSubtraction.PIXEL
    """pixel subtracts one mean per channel, image a mean for every pixel."""
    gradient_clip_norm: PositiveFloat | None = None
    """L2 norm to which gradients are clipped. Absent: they are not."""
    ema: Ema | None = None
    """An exponential moving average of the weights. Absent: none."""
    validation: Validation = Validation()
    """When validation runs."""
    early_stop: EarlyStop | None = None
    """When the run ends early. Absent: never."""
    tune: Annotated[list[Tunable], Field(max_length=8)] | None = None
    """What the trainer may choose itself, saying what it chose and why."""
    compile: Toggle = Toggle.AUTO
    """Whether the model goes through torch.compile."""
    parallelism: Parallelism = Parallelism.DDP
    """How the model is spread over processes."""
    loader: Loader = Loader()
    """How samples are read."""
