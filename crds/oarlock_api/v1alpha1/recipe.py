"""The recipe: how a model is trained. Absent fields are filled in by `oarlock_api.resolve` from the task and the model."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from oarlock_api.metrics import RANKABLE_METRICS
from oarlock_api.v1alpha1.timeline import Trace
from oarlock_api.v1alpha1.values import EpochInterval, Fraction
from oarlock_api.wire import WireModel

PositiveFloat = Annotated[float, Field(gt=0, le=1e6)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
Percent = Annotated[float, Field(ge=0, le=100)]
ClassName = Annotated[str, Field(min_length=1, max_length=256)]
ClassWeight = Annotated[float, Field(ge=1e-6, le=1e6)]

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
    """The optimizer. Norms and biases get no weight decay unless a parameter group says so.

    A parameter that the chosen optimizer does not have is refused.
    """

    name: OptimizerName = OptimizerName.ADAMW
    """Which optimizer. muon trains the matrices of the hidden layers, kernels of convolutions among them, and leaves the rest
    to adamw; its steps are scaled so that learning rates of adamw suit it."""
    learning_rate: PositiveFloat | None = None
    """Learning rate at its highest. Absent: 0.05 for sgd; 0.001 for adam, adamw, rmsprop, muon; 0.002 for adamax, nadam; 0.01
    for adagrad; 1 for adadelta."""
    weight_decay: Annotated[float, Field(ge=0, le=10)] | None = None
    """Weight decay: the strength of the L2 penalty, apart from the gradient for adamw and muon. Absent: 0.0005 for sgd, 0.01 for
    adamw and muon, else 0."""
    l1_penalty: Annotated[float, Field(ge=0, le=10)] | None = None
    """Strength of the L1 penalty: each weight's sign times this is added to its gradient, norms and biases excepted. Losses are
    reported without it. For all but muon. Absent: 0."""
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Momentum of sgd, rmsprop, muon. Absent: 0.9 for sgd, 0.95 for muon, 0 for rmsprop."""
    nesterov: bool | None = None
    """Nesterov's form of momentum, for sgd and muon. Absent: false for sgd, true for muon."""
    beta1: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Decay of the first moment, for adam, adamw, adamax, nadam, and what muon leaves to adamw. Absent: 0.9."""
    beta2: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Decay of the second moment, for the same. Absent: 0.999."""
    epsilon: Annotated[float, Field(gt=0, le=1)] | None = None
    """Added to the denominator, for all but sgd. Absent: 1e-8; 1e-10 for adagrad, 1e-6 for adadelta."""
    rho: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Decay of the squared gradients, for adadelta. Absent: 0.9."""
    square_decay: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Decay of the squared gradients, for rmsprop: the RMS decay of DIGITS. Absent: 0.99."""


class ParameterGroup(WireModel):
    """Parameters that are treated differently."""

    match: Annotated[str, Field(min_length=1, max_length=256)]
    """Regular expression, of Python, that the whole parameter name matches: head.*, for example. One that matches nothing is
    refused when training starts, with the nearest names."""
    learning_rate: PositiveFloat | None = None
    """Learning rate of the group at its highest; it follows the schedule. Absent: that of the optimizer."""
    weight_decay: Annotated[float, Field(ge=0, le=10)] | None = None
    """Weight decay of the group, norms and biases in it included. Absent: that of the optimizer, without norms and biases."""
    freeze: bool = False
    """Whether the parameters stay as they are; norms that are frozen whole keep their statistics, too."""


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
    warmup_fraction: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Share of the run in which the learning rate rises linearly from zero; for oneCycle, in which it rises to its highest.
    Absent: 0.05, for oneCycle 0.3."""
    final_fraction: Fraction | None = None
    """For cosine and oneCycle: the learning rate at the end, as a share of the highest. Absent: 0 for cosine, 0.000004 for
    oneCycle."""
    step_percent: Annotated[float, Field(gt=0, le=100)] | None = None
    """For step: percentage of the run after which the rate is multiplied by gamma, again and again. Absent: 33. For sigmoid: the
    percentage at which the rate is half of the highest. Absent: 50."""
    step_percents: Annotated[list[Percent], Field(min_length=1, max_length=64)] | None = None
    """For multistep: the percentages of the run at which the rate is multiplied by gamma. Absent: 50 and 85."""
    gamma: Annotated[float, Field(gt=0, le=10)] | None = None
    """For step, multistep, exponential: the factor, for exponential that of each percent of the run. Absent: 0.1, 0.5, 0.95. For
    inverse and sigmoid: how fast the rate falls with each percent. Absent: 0.1."""
    power: Annotated[float, Field(gt=0, le=100)] | None = None
    """For inverse and polynomial: the exponent. Absent: 0.5 and 3."""


class LossName(StrEnum):
    """Losses."""

    CROSS_ENTROPY = "crossEntropy"
    BINARY_CROSS_ENTROPY = "binaryCrossEntropy"
    MSE = "mse"
    L1 = "l1"
    DICE = "dice"
    DICE_CROSS_ENTROPY = "diceCrossEntropy"
    FOCAL = "focal"
    CONTRASTIVE = "contrastive"


class ClassWeights(StrEnum):
    """Weight of each class in the loss."""

    NONE = "none"
    BALANCED = "balanced"


class Loss(WireModel):
    """The loss."""

    name: LossName | None = None
    """Which loss. Absent: that of the task: crossEntropy where classes are predicted, focal for boxes, mse for images."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """For crossEntropy: share of the target that is spread over all classes."""
    class_weights: ClassWeights = ClassWeights.NONE
    """For crossEntropy, diceCrossEntropy and focal, but not of boxes: balanced weights each class by the inverse of its
    frequency."""
    weight_by_class: Annotated[dict[ClassName, ClassWeight], Field(min_length=1, max_length=1000)] | None = None
    """For the same losses: weights of classes by their names; a class that is not named weighs 1, and only the ratios count. A
    name that no class has is refused, with the nearest. Absent: as classWeights says."""
    focal_gamma: Annotated[float, Field(ge=0, le=10)] = 2.0
    """For focal: how much less a sample, or a cell of a detector's map, counts that is predicted well."""
    margin: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """For contrastive: distance from which two samples of different classes are far enough apart."""


class Flip(StrEnum):
    """Axes along which images are mirrored, each with probability one half."""

    NONE = "none"
    HORIZONTAL = "horizontal"
    VERTICAL = "vertical"
    BOTH = "both"


class QuadRotation(StrEnum):
    """Quarter turns that images may undergo, each equally often. 90 degrees needs square images."""

    NONE = "none"
    TURN_90 = "turn90"
    TURN_180 = "turn180"
    ALL = "all"


class ColorShift(WireModel):
    """Random shifts of hue, saturation and value; for colour images."""

    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    """Standard deviation of the hue's shift, as a share of the colour circle."""
    saturation: Annotated[float, Field(ge=0, le=1)] = 0.04
    """Standard deviation of the saturation's shift, from 0 to 1."""
    value: Annotated[float, Field(ge=0, le=1)] = 0.06
    """Standard deviation of the value's shift, from 0 to 1."""


class RandAugment(WireModel):
    """Some changes out of thirteen to each image, drawn at random, all of one strength (Cubuk et al. 2019)."""

    operations: Annotated[int, Field(ge=1, le=8)] = 2
    """Changes to each image."""
    magnitude: Annotated[float, Field(ge=0, le=30)] = 9
    """Strength, from 0 to 30."""


class Augment(WireModel):
    """Random changes to training images, made on the device, the same for the same seed and step.

    Masks and boxes move with their images.
    """

    shift: Annotated[int, Field(ge=0, le=1024)] = 0
    """Pixels by which an image is moved at most, in each direction; what is uncovered becomes black."""
    flip: Flip = Flip.NONE
    """Mirroring."""
    crop: Annotated[int, Field(ge=1, le=8192)] | None = None
    """Side in pixels of a random square crop; validation takes the centre."""
    quad_rotation: QuadRotation = QuadRotation.NONE
    """Quarter turns: none, turn90 (by -90, 0 or 90 degrees), turn180 (by 0 or 180 degrees), all."""
    rotation: Annotated[float, Field(ge=0, le=180)] = 0
    """Degrees by which an image is turned at most, to either side; corners become black."""
    rescale: Annotated[float, Field(ge=0, le=1)] = 0
    """Standard deviation of the factor, with mean 1, by which an image is enlarged; for example 0.07."""
    noise: Annotated[float, Field(ge=0, le=1)] = 0
    """Standard deviation of the noise on every pixel, as a share of the range; for example 0.03."""
    contrast: Annotated[float, Field(ge=0, lt=1)] = 0
    """Contrast is multiplied by a factor from 1 less this to 1 and this; for example 0.2."""
    color: ColorShift | None = None
    """Shifts of hue, saturation and value. Absent: none."""
    whitening: bool = False
    """Whether each image is standardised by its own mean and deviation, when validated and used as well."""
    rand_augment: RandAugment | None = None
    """Some changes out of thirteen to each image. Absent: none."""
    mixup: Annotated[float, Field(ge=0, le=10)] = 0
    """Images are mixed in pairs, in proportions from a beta distribution with this parameter; for example 0.2. 0: never."""
    cutmix: Annotated[float, Field(ge=0, le=10)] = 0
    """A rectangle of another image is pasted over each, of an area likewise; with mixup, either is done, equally often."""


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


class BatchNormalisation(StrEnum):
    """Whose rows batch norms take their statistics from while training."""

    LOCAL = "local"
    SYNCHRONIZED = "synchronized"


class Weights(StrEnum):
    """Which weights are validated."""

    MODEL = "model"
    EMA = "ema"


class Ema(WireModel):
    """An exponential moving average of the weights and of the statistics of norms."""

    decay: Annotated[float, Field(gt=0, lt=1)] = 0.999
    """Share of the average that is kept at each step; after n steps at most (1 + n) / (10 + n), so that the random weights of the
    beginning are soon forgotten."""


class ValidationInterval(WireModel):
    """How often to validate: exactly one of these."""

    epochs: EpochInterval | None = None
    """Every so many epochs: 0.5 is twice an epoch."""
    steps: Count | None = None
    """Every so many steps."""


class Validation(WireModel):
    """When and on which weights validation runs. It always runs at the end."""

    every: ValidationInterval = ValidationInterval(epochs=1)
    """How often."""
    weights: Weights = Weights.MODEL
    """Which weights are validated, ranked by keepBest, and exported: the model's, or with ema their average."""


class EarlyStop(WireModel):
    """Ends a run that no longer improves. It succeeds, with a message that names the best step."""

    metric: RankableMetric
    """The metric to watch; what is exported is the best by checkpoints.keepBest."""
    patience_validations: Count = 5
    """Validations without improvement after which the run ends."""


class Tunable(StrEnum):
    """What the trainer may choose itself."""

    LEARNING_RATE = "learningRate"
    MICRO_BATCH_SIZE = "microBatchSize"


class Loader(WireModel):
    """How samples are read."""

    workers: Annotated[int, Field(ge=0, le=256)] = 0
    """Threads per trainer process that read the rows of a batch side by side, and the checksums of files first. 0: the one thread
    that works ahead. More may help where a volume takes long to answer, not on a local disk. Rows, their order, and how many batches
    are in memory stay the same."""


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
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Share of the values that the model's dropout layers leave out while it is trained. Absent: as the model has it."""
    ema: Ema | None = None
    """An exponential moving average of the weights. Absent: none."""
    validation: Validation = Validation()
    """When validation runs."""
    early_stop: EarlyStop | None = None
    """When the run ends early. Absent: never."""
    tune: Annotated[list[Tunable], Field(max_length=8)] | None = None
    """What the trainer chooses itself before the first step, saying what it chose and why: learningRate, by a range test around
    that of the optimizer; microBatchSize, up to the one that is given."""
    compile: Toggle = Toggle.AUTO
    """Whether the model goes through torch.compile."""
    parallelism: Parallelism = Parallelism.DDP
    """ddp: each process holds the whole model. fsdp: each holds a part of every parameter, gradient and moment."""
    batch_norm: BatchNormalisation = BatchNormalisation.LOCAL
    """synchronized: batch norms take their statistics from the rows of all processes, not from each one's own."""
    activation_checkpointing: bool = False
    """Whether the backward pass computes the insides of blocks again, which saves memory and changes no figure."""
    loader: Loader = Loader()
    """How samples are read."""
    trace: Trace | None = None
    """A timeline of some steps, for a trace viewer. Absent: none."""
