"""The built-in models by name, and what they need: known to the operator, which never imports torch."""

from dataclasses import dataclass

from oarlock_api.v1alpha1.dataset import Task


@dataclass(frozen=True, kw_only=True, slots=True)
class BuiltInModel:
    """A model that needs torch alone."""

    name: str
    description: str
    tasks: frozenset[Task]
    min_side: int
    """Least height and width in pixels."""


_CLASSIFIES = frozenset({Task.IMAGE_CLASSIFICATION})

BUILT_IN_MODELS: dict[str, BuiltInModel] = {
    model.name: model
    for model in (
        BuiltInModel(name="lenet", description="LeNet-5's successor for small images", tasks=_CLASSIFIES, min_side=16),
        BuiltInModel(
            name="mlp", description="two hidden layers with dropout, for any size", tasks=_CLASSIFIES, min_side=1
        ),
        BuiltInModel(
            name="resnet",
            description="small residual network for images up to 64 pixels",
            tasks=_CLASSIFIES,
            min_side=8,
        ),
    )
}
