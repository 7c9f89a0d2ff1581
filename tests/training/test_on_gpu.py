"""What only a GPU can show: NCCL, bf16, and that a killed run resumes bitwise there too."""

import gzip
import json
from pathlib import Path

import pytest
import torch
from checkpointing.scaled_states import find_differences as find_differences_of_nadam
from checkpointing.scaled_states import make_state, optimizer_of, take_step
from checkpointing.tiny_runs import one_gloo_rank
from exactness.agent_runs import Job, check_completeness, find_differences, make_data, make_run, read_results
from training.small_runs import read_log, trace

from oarlock_api.metrics import COMPUTING_PARTS
from oarlock_api.v1alpha1.recipe import Augment, ColorShift, Flip, QuadRotation, RandAugment, Tunable
from oarlock_trainer.augmentation import Draws, apply_augmentation
from oarlock_trainer.augmentation.draws import Drawn
from oarlock_trainer.augmentation.mixing import mix_images
from oarlock_trainer.batches import place
from oarlock_trainer.step_parts import MEASURED, StepPart, build_laps

pytestmark = [
    pytest.mark.train,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="NOT RUN: this machine has no GPU"),
]


def make_job(folder: Path, name: str, *, model: str, version: str, precision: str = "auto") -> Job:
    run = make_run(version, model=model, gpus=1, precision=precision)
    return Job(folder=folder / name, data=folder / "data", run=run, processes=1)


def finish(job: Job) -> None:
    attempt = job.start_agent()
    try:
        assert attempt.wait() == 0, attempt.read_output()
    finally:
        attempt.destroy()


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("model", ["mlp", "lenet", "resnet"])
def test_a_run_is_bitwise_the_undisturbed_one_when_its_rank_is_killed_on_a_gpu(
    tmp_path: Path, model: str, precision: str
) -> None:
    version = make_data(tmp_path / "data")
    undisturbed = make_job(tmp_path, "undisturbed", model=model, version=version, precision=precision)
    finish(undisturbed)
    reference = read_results(undisturbed.run_dir)
    check_completeness(reference)

    killed = make_job(tmp_path, "killed", model=model, version=version, precision=precision)
    attempt = killed.start_agent()
    try:
        assert attempt.wait_for_step(70, retry=0), attempt.read_output()
        attempt.kill("rank", 0, retry=0)
        assert attempt.wait() == 0, attempt.read_output()
        assert attempt.read_record().retries == 1
    finally:
        attempt.destroy()

    assert find_differences(reference, read_results(killed.run_dir)) == []


@pytest.mark.parametrize("kind", ["training", "program"])
def test_nadam_goes_on_bitwise_with_its_scalars_on_the_host_when_parameters_are_on_a_gpu(
    kind: str, tmp_path: Path
) -> None:
    state = make_state(kind, device="cuda")
    take_step(state)
    with one_gloo_rank():
        differences = find_differences_of_nadam(kind, tmp_path, device="cuda")

    assert {values["mu_product"].device.type for values in optimizer_of(state).state.values()} == {"cpu"}
    assert differences == []


def test_the_micro_batch_that_fits_and_the_rate_are_found_on_a_gpu(tmp_path: Path) -> None:
    job = make_job(tmp_path, "run", model="lenet", version=make_data(tmp_path / "data"))
    recipe = job.run.recipe.model_copy(update={"tune": list(Tunable)})
    job.run = job.run.model_copy(update={"recipe": recipe})

    finish(job)

    rows, rate = read_log(job.run_dir, "tune")
    assert rows["message"] == "microBatchSize 32 chosen: the whole share of a process fits"
    assert rate["message"].startswith("learningRate ")


def test_a_run_on_a_gpu_says_so_divides_its_steps_and_traces_its_kernels(tmp_path: Path) -> None:
    job = make_job(tmp_path, "run", model="lenet", version=make_data(tmp_path / "data"))
    job.run = trace(20, 2, job.run)

    finish(job)
    events = json.loads(gzip.decompress((job.run_dir / "traces/step-000000020.json.gz").read_bytes()))["traceEvents"]
    divided = [line for line in read_log(job.run_dir, "pace") if COMPUTING_PARTS[0] in line]

    assert "cuda" in (job.run_dir / "log.jsonl").read_text()
    assert {"kernel", "cpu_op", "user_annotation"} <= {event.get("cat") for event in events}
    assert divided
    for line in divided:
        parts = [line[name] for name in COMPUTING_PARTS]
        assert min(parts[:-1]) > 0
        assert sum(parts) == pytest.approx(line["computeSeconds"])


def test_the_host_waits_for_no_measurement_of_a_step_on_a_gpu() -> None:
    laps = build_laps(torch.device("cuda"))
    weights = torch.rand(4096, 4096, device="cuda")
    weights @= weights  # the first product makes the library's handle
    laps.close_window()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for part in StepPart:
            laps.start(part)
            for _ in range(200 if part is StepPart.FORWARD else 1):
                weights = weights @ weights
        laps.end_step()
        while_busy = laps.close_window()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.cuda.synchronize()
    parts = dict(zip(MEASURED, laps.close_window(), strict=True))

    assert while_busy == (), "the device has not come by yet"
    assert max(parts, key=parts.__getitem__) is StepPart.FORWARD


@pytest.mark.parametrize(
    "augment",
    [
        Augment(shift=2, flip=Flip.BOTH, crop=24, quad_rotation=QuadRotation.ALL),
        Augment(rotation=20, rescale=0.1, noise=0.1, contrast=0.2, color=ColorShift()),
        Augment(rand_augment=RandAugment(operations=3), mixup=0.2, cutmix=1.0),
    ],
    ids=["whole pixels", "values", "mixed"],
)
def test_the_host_waits_for_no_step_of_the_augmentation_on_a_gpu(augment: Augment) -> None:
    device = torch.device("cuda")
    draws = Draws(augment, seed=0, samples=16)
    images = torch.randint(0, 256, (16, 32, 32, 3), dtype=torch.uint8, device=device)

    def change(step: int) -> None:
        on_device = place(draws.of_step(step), device)
        changed = apply_augmentation(augment, images, on_device).float()
        if augment.mixup:
            mix_images(augment, changed, changed.flip(0), Drawn(augment, on_device))

    change(0)  # what is kept on the device is copied once
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in range(1, 5):
            change(step)
    finally:
        torch.cuda.set_sync_debug_mode("default")
