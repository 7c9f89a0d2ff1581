"""Exported models are what was trained: the same predictions from ONNX Runtime and from a reloaded program, names inside."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import nn
from training.made_datasets import make_task_run, write_task_dataset

from oarlock_api.v1alpha1.dataset import Task, Tokens
from oarlock_api.v1alpha1.training_job import ExportFormat
from oarlock_trainer.batches import StreamedSamples, read_validation
from oarlock_trainer.datasets.tokens import format_words
from oarlock_trainer.export import Origin, export_model
from oarlock_trainer.export_formats import write_format
from oarlock_trainer.exported import load_exported
from oarlock_trainer.kept_weights import read_kept_weights
from oarlock_trainer.models import build_model
from oarlock_trainer.servable import Servable
from oarlock_trainer.tasks import build_task
from oarlock_trainer.tasks.task import main_output

CPU = torch.device("cpu")
CASES: dict[str, tuple[Task, Any, dict[str, Any]]] = {
    "classes": (Task.IMAGE_CLASSIFICATION, "lenet", {"augment": {"crop": 28}, "meanSubtraction": "image"}),
    "boxes": (Task.OBJECT_DETECTION, "centernet-small", {}),
    "images": (Task.IMAGE_TO_IMAGE, "autoencoder", {}),
    "pixels": (Task.SEGMENTATION, "unet-small", {}),
    "pairs": (Task.IMAGE_CLASSIFICATION, "siamese", {"loss": {"name": "contrastive"}}),
    "texts": (Task.TEXT_CLASSIFICATION, "textcnn", {}),
    "tied": (Task.IMAGE_CLASSIFICATION, {"python": {"module": __name__, "factory": "build_tied"}}, {}),
}


def build_tied(outputs: int) -> nn.Module:
    """Return a model that uses one weight twice."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(1024, 8), nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, outputs))
    model[3].weight = model[2].weight
    return model


class Trained:
    """An exported model, and what it says of the validation split when it is asked as in training."""

    def __init__(self, case: tuple[Task, Any, dict[str, Any]], folder: Path, tokens: Tokens = Tokens.WORDS) -> None:
        kind, model, recipe = case
        self.is_boxes = kind is Task.OBJECT_DETECTION
        self.dataset = write_task_dataset(folder / "data", kind, tokens=tokens)
        run = make_task_run(self.dataset, model=model, recipe=recipe)
        task = build_task(run, self.dataset, device=CPU)
        torch.manual_seed(0)
        network = build_model(run.model, task.form, task.outputs).eval()
        with torch.no_grad():  # an untrained detector scores alike everywhere, and ties may be ranked in any order
            for parameter in network.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        origin = Origin(checkpoint="last", step=1, epoch=1.0, metric=None)
        export_model(folder, network, run=run, dataset=self.dataset, task=task, origin=origin)
        self.folder = folder / "export"
        self.servable = Servable(network, task=task, run=run, dataset=self.dataset)
        batch = read_validation(StreamedSamples(self.dataset.split("validation"), CPU), np.arange(5), task=task)
        stored, _ = self.dataset.split("validation").gather(np.arange(5))
        self.samples = stored.astype(np.int64) if task.form.is_text else stored
        with torch.no_grad():
            predicted = task.predict(main_output(network(task.prepare(batch).inputs))).numpy()
        self.expected = predicted[: len(self.samples)]  # of pairs, the second halves come after the first

    def check(self, predicted: NDArray[Any]) -> None:
        """Compare with what was expected; cells beside a box's own score nothing, and nothings may be ranked in any order."""
        if self.is_boxes:
            assert (self.expected[..., 1] > 0).any()
            np.testing.assert_allclose(predicted[..., 1], self.expected[..., 1], atol=1e-5)
            predicted = np.where(self.expected[..., 1:2] > 0, predicted, self.expected)
        np.testing.assert_allclose(predicted, self.expected, atol=1e-5)


@pytest.mark.parametrize("name", ["classes", "texts"])
def test_onnx_runtime_predicts_what_the_model_does(name: str, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="NOT RUN: no onnxruntime")
    trained = Trained(CASES[name], tmp_path)
    path = write_format(ExportFormat.ONNX, trained.servable, trained.folder)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    (predicted,) = session.run(None, {"samples": trained.samples})
    notes = session.get_modelmeta().custom_metadata_map

    trained.check(predicted)
    assert json.loads(notes["oarlock.classes"]) == trained.dataset.manifest.classes
    own = trained.dataset.tokenizer()
    assert notes.get("oarlock.vocabulary") == (None if own is None else format_words(own.words))
    assert [file.name for file in trained.folder.glob("partial*")] == []


@pytest.mark.parametrize("tokens", [Tokens.WORDS, Tokens.CHARACTERS])
def test_texts_become_what_they_were_in_the_data_set_when_an_exported_model_is_asked(
    tokens: Tokens, tmp_path: Path
) -> None:
    trained = Trained(CASES["texts"], tmp_path, tokens=tokens)
    texts, exported = ["A cat, naïve\u2028 — w7 w70", ""], load_exported(trained.folder)
    own = trained.dataset.tokenizer()

    assert exported.tokenizer == own
    assert own is not None
    np.testing.assert_array_equal(exported.predict(texts), exported.predict(own.encode_all(texts)))
    assert exported.classify(texts) == exported.classify(own.encode_all(texts))
    with pytest.raises(ValueError, match="a list of texts"):
        exported.classify("one")


def test_words_that_are_not_those_of_the_export_are_refused(tmp_path: Path) -> None:
    trained = Trained(CASES["texts"], tmp_path, tokens=Tokens.WORDS)
    (trained.folder / "vocabulary.txt").write_text("other\n")

    with pytest.raises(ValueError, match="not what was exported"):
        load_exported(trained.folder)


@pytest.mark.parametrize("name", ["classes", "images", "boxes"])
def test_a_reloaded_program_predicts_what_the_model_does(name: str, tmp_path: Path) -> None:
    trained = Trained(CASES[name], tmp_path)
    path = write_format(ExportFormat.TORCH_EXPORT, trained.servable, trained.folder)
    extra = {"model.json": ""}
    program = torch.export.load(path, extra_files=extra)

    trained.check(program.module()(torch.from_numpy(trained.samples)).numpy())
    assert json.loads(extra["model.json"])["classes"] == trained.dataset.manifest.classes


@pytest.mark.parametrize(
    ("kind", "model", "recipe"),
    [
        (Task.IMAGE_CLASSIFICATION, "lenet", {"augment": {"crop": 28}, "meanSubtraction": "image"}),
        (Task.IMAGE_CLASSIFICATION, "lenet", {"augment": {"whitening": True}}),
        (Task.TEXT_CLASSIFICATION, "textcnn", {}),
    ],
    ids=["cropped", "whitened", "texts"],
)
def test_a_classifier_loaded_from_its_weights_predicts_what_it_did(
    kind: Task, model: str, recipe: dict[str, Any], tmp_path: Path
) -> None:
    trained = Trained((kind, model, recipe), tmp_path)

    trained.check(load_exported(trained.folder).predict(trained.samples))


def test_weights_that_are_tied_are_exported_under_both_names_and_come_back(tmp_path: Path) -> None:
    trained = Trained(CASES["tied"], tmp_path)
    weights, _ = read_kept_weights(tmp_path)

    assert weights["2.weight"].equal(weights["3.weight"])
    trained.check(load_exported(trained.folder).predict(trained.samples))


@pytest.mark.parametrize("name", ["boxes", "images", "pixels", "pairs"])
def test_a_model_of_any_task_loaded_from_its_weights_predicts_what_it_did(name: str, tmp_path: Path) -> None:
    trained = Trained(CASES[name], tmp_path)
    exported = load_exported(trained.folder)

    trained.check(exported.predict(trained.samples))
    with pytest.raises(ValueError, match="predicts no class of a sample"):
        exported.classify(trained.samples)


@pytest.mark.parametrize("name", ["classes", "boxes", "pairs", "texts"])
def test_a_model_is_loaded_when_an_earlier_version_exported_it(name: str, tmp_path: Path) -> None:
    trained = Trained(CASES[name], tmp_path)
    description = json.loads((trained.folder / "model.json").read_text())
    del description["outputs"]
    (trained.folder / "model.json").write_text(json.dumps(description))

    trained.check(load_exported(trained.folder).predict(trained.samples))


def test_the_file_of_weights_alone_says_what_it_is_of(tmp_path: Path) -> None:
    trained = Trained(CASES["texts"], tmp_path)

    with safe_open(trained.folder / "model.safetensors", framework="pt") as file:
        noted = json.loads(file.metadata()["oarlock"])

    said = json.loads((trained.folder / "model.json").read_text())
    del said["weights"]
    assert noted == said
    assert noted["classes"] == trained.dataset.manifest.classes
