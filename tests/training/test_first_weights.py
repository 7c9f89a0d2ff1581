"""The weights with which a run begins."""

from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor
from torchvision_operators import install

from oarlock_api.v1alpha1.training_job import InitFrom, LibraryModel, Model, TrainingJobSpec
from oarlock_trainer.errors import ConfigError, DataMissingError, StorageError
from oarlock_trainer.first_weights import FirstWeights, check_beginning, load_first_weights
from oarlock_trainer.models import SampleForm, build_model
from oarlock_trainer.models.loading import select_weights
from oarlock_trainer.parameter_groups import freeze_parameters

install()

FORM = SampleForm(shape=(32, 32, 1))


def state(**shapes: tuple[int, ...]) -> dict[str, Tensor]:
    return {name.replace("__", "."): torch.rand(shape) for name, shape in shapes.items()}


def test_a_last_layer_of_another_size_is_left_out_and_everything_else_taken() -> None:
    given = state(body__weight=(4, 3), body__bias=(4,), head__weight=(10, 4), head__bias=(10,))
    ours = state(body__weight=(4, 3), body__bias=(4,), head__weight=(2, 4), head__bias=(2,))

    selection = select_weights(ours, given, source="a file", outputs=2)

    assert selection.left_out == ("head.weight", "head.bias")
    assert {name: value.data_ptr() for name, value in selection.chosen.items()} == {
        name: given[name].data_ptr() for name in ("body.weight", "body.bias")
    }


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (state(body__weight=(4, 7), head__weight=(2, 4)), r"body.weight \[4, 3\] is \[4, 7\] there$"),
        (state(head__weight=(2, 4)), r"body.weight \[4, 3\] is missing there$"),
        (state(body__weight=(4, 3), head__weight=(2, 9)), r"head.weight \[2, 4\] is \[2, 9\] there$"),
        (state(body__weight=(4, 3), head__weight=(2, 4), more=(1,)), r"more \[1\] is only there$"),
    ],
)
def test_weights_of_another_model_are_refused_with_names_and_shapes(given: dict[str, Tensor], says: str) -> None:
    with pytest.raises(ConfigError, match=f"a file has the weights of another model: {says}"):
        select_weights(state(body__weight=(4, 3), head__weight=(2, 4)), given, source="a file", outputs=2)


def test_only_what_matches_is_taken_if_the_job_says_so() -> None:
    ours = state(backbone__weight=(4, 3), neck__weight=(5, 5), head__weight=(2, 4))
    given = state(weight=(4, 3), other=(9,))

    selection = select_weights(ours, given, source="a file", outputs=2, match="backbone.*")

    assert (list(selection.chosen), selection.left_out) == (["backbone.weight"], ())
    with pytest.raises(ConfigError, match=r"no tensor of the model matches 'bakcbone\.\*'"):
        select_weights(ours, given, source="a file", outputs=2, match=r"bakcbone.*")


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
def test_a_prefix_that_a_wrapper_left_does_not_matter(prefix: str) -> None:
    given = {prefix + name: value for name, value in state(a__weight=(4, 3), b=(1,)).items()}

    assert len(select_weights(state(a__weight=(4, 3), b=(1,)), given, source="", outputs=9).chosen) == 2


def test_the_trunk_of_a_classifier_becomes_that_of_a_detector(tmp_path: Path) -> None:
    classifier = build_model(Model(name="resnet18"), FORM, 5)
    torch.save({"epoch": 3, "state_dict": classifier.state_dict()}, tmp_path / "trunk.pth")
    wanted = Model(name="centernet", init_from=InitFrom(path="trunk.pth", match=r"backbone.*"))
    detector = build_model(wanted, FORM, 6)

    loaded = load_first_weights(detector, wanted, tmp_path / "trunk.pth", outputs=6)

    assert str(loaded) == "the first weights are 120 tensors of trunk.pth"
    assert torch.equal(detector.state_dict()["backbone.layer4.1.conv2.weight"], classifier.layer4[1].conv2.weight)


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_pretrained_weights_of_a_library_come_from_a_file_with_another_head_and_for_grey_images(
    tmp_path: Path, library: str
) -> None:
    name = {"torchvision": "squeezenet1_1", "timm": "test_resnet"}[library]
    wanted = Model.from_wire({library: {"name": name, "weights": "weights.safetensors"}})
    colour = build_model(wanted, SampleForm(shape=(32, 32, 3)), 1000)
    save_file(colour.state_dict(), tmp_path / "weights.safetensors")
    network = build_model(wanted, FORM, 4)

    loaded = load_first_weights(network, wanted, tmp_path / "weights.safetensors", outputs=4)

    assert loaded is not None
    first = next(iter(network.state_dict()))
    torch.testing.assert_close(network.state_dict()[first], colour.state_dict()[first].sum(dim=1, keepdim=True))
    assert len(loaded.left_out) == 2
    assert loaded.taken == len(network.state_dict()) - 2


def test_a_name_of_torchvision_for_weights_is_answered_with_where_they_are() -> None:
    wanted = Model(torchvision=LibraryModel(name="resnet18", weights="IMAGENET1K_V1"))

    with pytest.raises(DataMissingError, match=r"no file .*IMAGENET1K_V1") as error:
        load_first_weights(build_model(wanted, FORM, 4), wanted, Path("/nowhere/IMAGENET1K_V1"), outputs=4)
    assert "torchvision's name for them: put https://" in error.value.remedy


def test_a_run_that_was_to_begin_with_other_weights_never_begins_at_random(tmp_path: Path) -> None:
    taken = FirstWeights(source="a file", taken=1, left_out=())
    for wanted in (
        Model(name="lenet", init_from=InitFrom(job="earlier")),
        Model(timm=LibraryModel(name="a", weights="b")),
    ):
        check_beginning(wanted, taken, run_dir=tmp_path)
        with pytest.raises(StorageError, match="went away while this attempt was about to resume"):
            check_beginning(wanted, None, run_dir=tmp_path)
    check_beginning(Model(name="lenet"), None, run_dir=tmp_path)


def test_a_folder_that_is_gone_is_told_apart_from_a_volume_that_is_not_mounted_any_more(tmp_path: Path) -> None:
    wanted = Model(name="lenet", init_from=InitFrom(job="earlier"))
    network = build_model(wanted, FORM, 4)

    with pytest.raises(DataMissingError, match="neither an exported model nor a checkpoint"):
        load_first_weights(network, wanted, tmp_path / "uid", outputs=4)
    with pytest.raises(
        StorageError, match="no checkpoint to resume from, and the weights of job earlier are not mounted"
    ):
        load_first_weights(network, wanted, tmp_path / "not-mounted" / "uid", outputs=4)


class Payload:
    """What a file of weights must not hold."""


def test_a_file_that_holds_more_than_tensors_is_not_read(tmp_path: Path) -> None:
    torch.save({"model": Payload()}, tmp_path / "weights.pt")
    (tmp_path / "broken.safetensors").write_bytes(b"no such thing")
    wanted = Model(name="lenet", init_from=InitFrom(path="weights.pt"))
    network = build_model(wanted, FORM, 4)

    with pytest.raises(ConfigError, match="holds more than tensors"):
        load_first_weights(network, wanted, tmp_path / "weights.pt", outputs=4)
    with pytest.raises(ConfigError, match="cannot be read as weights"):
        load_first_weights(network, wanted, tmp_path / "broken.safetensors", outputs=4)


def test_the_example_of_fine_tuning_keeps_the_convolutions_alone() -> None:
    path = Path(__file__).parents[2] / "examples" / "fine-tuning" / "second.yaml"
    spec = TrainingJobSpec.from_wire(yaml.safe_load(path.read_text())["spec"])
    form = SampleForm(shape=(28, 28, 1))
    model = build_model(spec.model or Model(), form=form, outputs=10)

    freeze_parameters(model, spec.recipe.param_groups or [])

    kept = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    assert kept == ["features.0.weight", "features.0.bias", "features.2.weight", "features.2.bias"]
