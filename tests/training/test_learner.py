"""What the recipe says of how the model is run reaches the model: it notes itself how it is run."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional
from training.small_runs import CLASSES, SHAPE, await_end_of_readers, make_run
from training.watching_models import MADE, Watching, WatchingBlock

from oarlock_api.contract import Outcome
from oarlock_trainer.compilation import choose_compilation
from oarlock_trainer.config import TrainerConfig, read_config
from oarlock_trainer.devices import compute_in, open_device
from oarlock_trainer.distributed import Processes
from oarlock_trainer.learner import Learner, build_learner
from oarlock_trainer.loop import train
from oarlock_trainer.models import SampleForm
from oarlock_trainer.optimizers import set_learning_rate
from oarlock_trainer.rank_record import RankRecord
from oarlock_trainer.signals import StopRequest

CPU = torch.device("cpu")
MODEL = {"python": {"module": "training.watching_models", "factory": "Watching"}}
PLAIN_SGD = {"name": "sgd", "learningRate": 1.0, "momentum": 0, "weightDecay": 0}


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Give back to the process what a trainer sets once and for all."""
    threads, multiplication = torch.get_num_threads(), torch.get_float32_matmul_precision()
    workspace = os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)
    yield
    torch.use_deterministic_algorithms(mode=False)
    torch.backends.cudnn.deterministic = torch.backends.cudnn.benchmark = False
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(multiplication)
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)
    if workspace is not None:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = workspace
    MADE.clear()
    if dist.is_initialized():  # a run that failed half-way has not left the group
        dist.destroy_process_group()


def make_config(folder: Path, *, version: str = "v", steps: int = 20, **recipe: Any) -> TrainerConfig:
    run = make_run(version, model=MODEL, steps=steps, recipe={"augment": {}, **recipe})
    places = {"OARLOCK_DATA_DIR": str(folder / "data"), "OARLOCK_RUN_DIR": str(folder / "watched")}
    return read_config({"OARLOCK_RUN": json.dumps(run.to_wire()), **places}, cpus=1)


def make_learner(**recipe: Any) -> tuple[Learner, Watching, list[WatchingBlock]]:
    """Return a learner whose model has not been called."""
    processes = Processes(rank=0, count=1, device=CPU, control=None)  # type: ignore[arg-type]
    form = SampleForm(shape=SHAPE)
    learner = build_learner(make_config(Path(), **recipe), processes, form=form, outputs=len(CLASSES))
    assert isinstance(learner.model, Watching)
    blocks = [block for block in learner.model.blocks if isinstance(block, WatchingBlock)]
    for block in blocks:
        block.calls = 0
        block.formats.clear()
    return learner, learner.model, blocks


def learn(learner: Learner, *, factor: float = 1.0) -> None:
    with compute_in(learner.precision, CPU):
        outputs = learner.network(torch.ones(2, SHAPE[2], *SHAPE[:2]))
    learner.backward(functional.cross_entropy(outputs.float(), torch.tensor([0, 1])) * factor)


@pytest.mark.parametrize(
    ("precision", "expected"),
    [("bf16", torch.bfloat16), ("fp16", torch.float16), ("fp32", torch.float32), ("auto", torch.float32)],
)
def test_the_model_computes_in_the_precision_of_the_recipe(precision: str, expected: torch.dtype) -> None:
    learner, _, blocks = make_learner(precision=precision)

    learn(learner)

    assert [block.formats for block in blocks] == [{expected}, {expected}]
    assert learner.scaler.is_enabled() == (precision == "fp16")
    assert {parameter.dtype for parameter in learner.model.parameters()} == {torch.float32}


@pytest.mark.parametrize("checkpoints", [False, True], ids=["whole", "by block"])
@pytest.mark.parametrize("toggle", ["on", "off", "auto"])
def test_the_model_is_compiled_when_the_recipe_says_so(
    monkeypatch: pytest.MonkeyPatch, toggle: str, *, checkpoints: bool
) -> None:
    passed: list[nn.Module] = []

    def take_up(function: Any, **_settings: Any) -> Callable[..., Any]:
        """Stand in for torch's compiler, which takes seconds: note which module runs through what it has returned."""

        def run(*arguments: Any) -> Any:
            passed.append(function.__self__)
            return function(*arguments)

        return run

    monkeypatch.setattr(torch, "compile", take_up)
    learner, model, blocks = make_learner(compile=toggle, activationCheckpointing=checkpoints)

    learn(learner)

    expected: list[nn.Module] = [*blocks, *reversed(blocks)] if checkpoints else [model]
    assert passed == (expected if toggle == "on" else [])
    assert learner.compilation.startswith("on" if toggle == "on" else "off")


@pytest.mark.parametrize(
    ("device", "steps", "deterministic", "compiles"),
    [
        ("cuda", 2000, False, True),
        ("cuda", 1999, False, False),
        ("cuda", 9999, True, False),
        ("cpu", 9999, False, False),
    ],
)
def test_auto_compiles_long_runs_on_gpus_alone(device: str, steps: int, *, deterministic: bool, compiles: bool) -> None:
    recipe = make_run("v").recipe

    chosen, _ = choose_compilation(
        recipe.compile, device=torch.device(device), steps=steps, deterministic=deterministic
    )

    assert chosen == compiles


@pytest.mark.parametrize("again", [False, True])
def test_blocks_are_computed_again_when_the_recipe_says_so(*, again: bool) -> None:
    learner, _, blocks = make_learner(activationCheckpointing=again)

    learn(learner)

    assert [block.calls for block in blocks] == ([2, 2] if again else [1, 1])


@pytest.mark.parametrize("deterministic", [False, True])
def test_only_deterministic_operations_are_used_when_the_recipe_says_so(tmp_path: Path, *, deterministic: bool) -> None:
    open_device(make_config(tmp_path, deterministic=deterministic))

    assert torch.are_deterministic_algorithms_enabled() == deterministic
    assert torch.backends.cudnn.deterministic == deterministic
    assert ("CUBLAS_WORKSPACE_CONFIG" in os.environ) == deterministic


@pytest.mark.parametrize(
    ("clip", "factor"), [(0.5, 1000.0), (0.5, 1e-3), (None, 1000.0)], ids=["too long", "short", "not clipped"]
)
def test_an_update_is_as_long_as_the_clipped_gradient(clip: float | None, factor: float) -> None:
    learner, model, _ = make_learner(optimizer=PLAIN_SGD, **({"gradientClipNorm": clip} if clip else {}))
    set_learning_rate(learner.optimizer, 0.1)
    learn(learner, factor=factor)
    gradients = [parameter.grad for parameter in model.parameters()]
    whole = float(sum((gradient**2).sum() for gradient in gradients if gradient is not None) ** 0.5)

    norm = learner.update()

    assert model.measure_way() == pytest.approx(0.1 * (whole if clip is None else min(whole, clip)), rel=1e-3)
    assert (None if norm is None else float(norm)) == (None if clip is None else pytest.approx(whole, rel=1e-4))


def test_a_run_does_all_of_it_when_the_recipe_asks_for_all(dataset_folder: Path, version: str, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(dataset_folder / "data")
    recipe = {"precision": "bf16", "activationCheckpointing": True, "deterministic": True}
    changes = {"optimizer": PLAIN_SGD, "gradientClipNorm": 1e-3, "schedule": {"name": "fixed"}}
    config = make_config(tmp_path, version=version, steps=3, **recipe, **changes)

    try:
        outcome = train(config, RankRecord.from_environment(), StopRequest())
    finally:
        await_end_of_readers()

    assert outcome is Outcome.SUCCEEDED
    trained = MADE[0]
    blocks = [block for block in trained.blocks if isinstance(block, WatchingBlock)]
    assert {dtype for block in blocks for dtype in block.formats} == {torch.bfloat16}
    assert {is_exact for block in blocks for is_exact in block.determined} == {True}
    assert all(block.calls % 2 == 0 and block.calls >= 2 * 3 for block in blocks)
    # No step is longer than the norm to which its gradients are clipped; steps in one direction add up.
    assert 1e-3 < trained.measure_way() <= 3e-3 * 1.001
