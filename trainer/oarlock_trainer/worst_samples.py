"""How a sample and what a model says about it are shown in the report, by the kind of data."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from oarlock_api.v1alpha1.dataset import Task as TaskName
from oarlock_trainer.datasets import StoredDataset
from oarlock_trainer.datasets.tokens import PADDING, UNKNOWN, read_words
from oarlock_trainer.reports.facts import WorstSample
from oarlock_trainer.reports.pictures import encode_boxed, encode_image, encode_masked
from oarlock_trainer.tasks import Batch, Task

_MOST_CHARACTERS = 1500
_LEAST_SCORE = 0.3
"""Boxes below it are not shown."""
_FIRST_WORD = 2


Facts = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleView:
    """One row of a batch, and what the model says about it."""

    batch: Batch
    predictions: Tensor
    place: int
    task: Task
    dataset: StoredDataset

    @property
    def image(self) -> NDArray[np.uint8]:
        return _pixels(self.batch.rows.samples[self.place])

    @property
    def target(self) -> Tensor:
        return self.batch.rows.targets[self.place]

    @property
    def prediction(self) -> Tensor:
        return self.predictions[self.place]

    @property
    def classes(self) -> list[str]:
        return self.dataset.manifest.classes


def show_sample(view: SampleView, *, number: int, loss: float) -> WorstSample:
    """Return how the sample, at place `number` of its split, is shown."""
    show = _SHOWN.get(view.dataset.manifest.task, _show_input)
    if view.batch.partners is not None:
        show = _show_pair
    elif show is _show_class and view.task.outputs != len(view.classes):
        show = _show_input
    return WorstSample(number=number, loss=loss, **show(view))  # type: ignore[arg-type]  # by name


def _show_class(view: SampleView) -> Facts:
    chances = view.prediction
    said = int(chances.argmax())
    verdict = {
        "truth": view.classes[int(view.target)],
        "said": view.classes[said],
        "confidence": float(chances[said]),
    }
    return {**_show_input(view), **verdict}


def _show_input(view: SampleView) -> Facts:
    sample = view.batch.rows.samples[view.place]
    if sample.dim() == 1:
        return {"text": _spell(sample, view.dataset)}
    return {"pictures": (("image", encode_image(view.image)),)}


def _show_pair(view: SampleView) -> Facts:
    assert view.batch.partners is not None  # noqa: S101  # tasks of pairs have them
    pair = (("one", view.batch.rows), ("other", view.batch.partners))
    pictures = tuple((name, encode_image(_pixels(rows.samples[view.place]))) for name, rows in pair)
    names = [view.classes[int(rows.targets[view.place])] for _, rows in pair]
    return {"pictures": pictures, "truth": " and ".join(names)}


def _show_mask(view: SampleView) -> Facts:
    said = _pixels(view.prediction)
    image, truth = _cut(view.image, said.shape), _cut(_pixels(view.target), said.shape)
    shown = (
        ("image", encode_image(image)),
        ("truth", encode_masked(image, truth)),
        ("said", encode_masked(image, said)),
    )
    return {"pictures": shown}


def _show_boxes(view: SampleView) -> Facts:
    truth, said = view.target.cpu().float().numpy(), view.prediction.cpu().float().numpy()
    truth = truth[truth[:, 0] >= 0]
    said = said[said[:, 1] >= _LEAST_SCORE][:, [0, 2, 3, 4, 5]]
    # The model sees the centre of a cropped image, and says where boxes are in that.
    seen = np.array([view.task.form.width, view.task.form.height]) / np.array(view.image.shape[1::-1])
    said[:, 1:3] = 0.5 + (said[:, 1:3] - 0.5) * seen
    said[:, 3:5] *= seen
    pictures = (
        ("truth", encode_boxed(view.image, truth, view.classes)),
        ("said", encode_boxed(view.image, said, view.classes)),
    )
    return {"pictures": pictures}


def _show_images(view: SampleView) -> Facts:
    said = _pixels((view.prediction.permute(1, 2, 0) * 255).round().clamp(0, 255).to(torch.uint8))
    pictures = [("input", encode_image(_cut(view.image, said.shape)))]
    if view.target.numel():
        pictures.append(("truth", encode_image(_cut(_pixels(view.target), said.shape))))
    return {"pictures": (*pictures, ("said", encode_image(said)))}


_SHOWN: dict[TaskName, Callable[[SampleView], Facts]] = {
    TaskName.IMAGE_CLASSIFICATION: _show_class,
    TaskName.TEXT_CLASSIFICATION: _show_class,
    TaskName.SEGMENTATION: _show_mask,
    TaskName.OBJECT_DETECTION: _show_boxes,
    TaskName.IMAGE_TO_IMAGE: _show_images,
}


def _pixels(image: Tensor) -> NDArray[np.uint8]:
    return np.asarray(image.cpu().numpy(), np.uint8)


def _cut(image: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return the centre of an image, as large as what the model saw of it."""
    top, left = (image.shape[0] - shape[0]) // 2, (image.shape[1] - shape[1]) // 2
    return image[top : top + shape[0], left : left + shape[1]]


def _spell(tokens: Tensor, dataset: StoredDataset) -> str:
    """Return the text that stored numbers stand for."""
    numbers = [int(number) & 0xFFFF for number in tokens.tolist()]
    numbers = [number for number in numbers if number != PADDING]
    vocabulary = dataset.manifest.vocabulary
    if vocabulary is None or vocabulary.words is None:
        return bytes(n - _FIRST_WORD for n in numbers if n >= _FIRST_WORD)[:_MOST_CHARACTERS].decode("utf-8", "replace")
    words = read_words(dataset.folder / vocabulary.words.file)
    spelled = ("…" if number == UNKNOWN else words[number - _FIRST_WORD] for number in numbers)
    return " ".join(spelled)[:_MOST_CHARACTERS]
