"""The built-in models by name, and what they need: known to the operator, which never imports torch."""

from dataclasses import dataclass

from oarlock_api.v1alpha1.dataset import Task
from oarlock_api.v1alpha1.recipe import LossName


@dataclass(frozen=True, kw_only=True, slots=True)
class BuiltInModel:
    """A model that needs torch alone."""

    name: str
    description: str
    tasks: frozenset[Task]
    min_side: int = 1
    """Least height and width in pixels, of images."""
    losses: frozenset[LossName] = frozenset()
    """The losses that it is made for; none: those of its task."""
    drops: bool = False
    """Whether it has dropout, whose share `recipe.dropout` sets."""
    head: str = "head"
    """The last layer, whose size is the number of outputs: what `recipe.paramGroups` matches as `head.*`, and what is left
    out of weights that were trained for another number of classes."""

    @property
    def reads_text(self) -> bool:
        """Whether samples are rows of tokens, not images."""
        return Task.TEXT_CLASSIFICATION in self.tasks


_CLASSIFIES = frozenset({Task.IMAGE_CLASSIFICATION})
_SEGMENTS = frozenset({Task.SEGMENTATION})
_DETECTS = frozenset({Task.OBJECT_DETECTION})
_MAPS = frozenset({Task.SEGMENTATION, Task.IMAGE_TO_IMAGE})
_READS = frozenset({Task.TEXT_CLASSIFICATION})

_MODELS = (
    BuiltInModel(name="lenet", description="LeNet-5's successor for small images", tasks=_CLASSIFIES, min_side=16),
    BuiltInModel(name="mlp", description="two hidden layers with dropout, for any size", tasks=_CLASSIFIES, drops=True),
    BuiltInModel(
        name="resnet", description="small residual network for images up to 64 pixels", tasks=_CLASSIFIES, min_side=8
    ),
    BuiltInModel(
        name="alexnet",
        description="AlexNet for one GPU, at its best at 224 pixels",
        tasks=_CLASSIFIES,
        min_side=63,
        drops=True,
        head="classifier.6",
    ),
    BuiltInModel(
        name="googlenet",
        description="GoogLeNet with batch norm and two auxiliary heads while training",
        tasks=_CLASSIFIES,
        min_side=32,
        drops=True,
    ),
    BuiltInModel(
        name="vgg11",
        description="VGG of 11 layers",
        tasks=_CLASSIFIES,
        min_side=32,
        drops=True,
        head="classifier.6",
    ),
    BuiltInModel(
        name="vgg16",
        description="VGG of 16 layers",
        tasks=_CLASSIFIES,
        min_side=32,
        drops=True,
        head="classifier.6",
    ),
    *(
        BuiltInModel(
            name=f"resnet{depth}",
            description=f"residual network of {depth} layers in the ImageNet form (v1.5)",
            tasks=_CLASSIFIES,
            min_side=16,
            head="fc",
        )
        for depth in (18, 34, 50)
    ),
    BuiltInModel(
        name="siamese",
        description="LeNet's layers to a place in space, for pairs of images",
        tasks=_CLASSIFIES,
        min_side=16,
        losses=frozenset({LossName.CONTRASTIVE}),
    ),
    BuiltInModel(name="unet", description="U-Net with batch norm, from 32 channels on", tasks=_MAPS, min_side=8),
    BuiltInModel(
        name="unet-small", description="U-Net of half a million parameters, for CPUs", tasks=_MAPS, min_side=8
    ),
    BuiltInModel(
        name="fcn", description="fully convolutional network (FCN-8s) on ResNet-18", tasks=_SEGMENTS, min_side=8
    ),
    BuiltInModel(
        name="autoencoder", description="convolutional autoencoder", tasks=frozenset({Task.IMAGE_TO_IMAGE}), min_side=8
    ),
    BuiltInModel(name="centernet", description="detector of peaks in maps, on ResNet-18", tasks=_DETECTS, min_side=32),
    BuiltInModel(
        name="centernet-small",
        description="the same with a quarter of its channels, for CPUs",
        tasks=_DETECTS,
        min_side=32,
    ),
    BuiltInModel(name="textcnn", description="convolutions over three to five words", tasks=_READS, drops=True),
    BuiltInModel(name="lstm", description="LSTM over words", tasks=_READS, drops=True),
    BuiltInModel(name="gru", description="GRU over words", tasks=_READS, drops=True),
    BuiltInModel(
        name="transformer", description="transformer encoder of four layers over words", tasks=_READS, drops=True
    ),
)

BUILT_IN_MODELS: dict[str, BuiltInModel] = {model.name: model for model in _MODELS}


def models_for(task: Task) -> tuple[str, ...]:
    """Return the names of the built-in models that a task can train, in the order of the zoo."""
    return tuple(model.name for model in _MODELS if task in model.tasks)
