"""Resolving: every absent field is filled in once, and what does not fit is said with a remedy."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oarlock_api.resolve import Defaults, ReadyDataset, UnresolvableError, first_spec_change, resolve
from oarlock_api.run import Run, WorkerRun, build_worker_run
from oarlock_api.v1alpha1 import DatasetStatus, TrainingJobSpec
from oarlock_api.v1alpha1.dataset import Task

STATUS: dict[str, Any] = {
    "version": "ab12",
    "claim": "digits-data",
    "path": "digits-1/ab12",
    "counts": {"train": 3750, "validation": 1250},
    "class_count": 10,
    "sample_shape": [28, 28, 1],
}


def run_of(
    spec: dict[str, Any] | None = None,
    *,
    generation: int = 1,
    access_modes: dict[str, list[str]] | None = None,
    **status: Any,
) -> Run:
    dataset = ReadyDataset(
        name="digits", uid="u1", task=Task.IMAGE_CLASSIFICATION, status=DatasetStatus(**{**STATUS, **status})
    )
    return resolve(
        job_spec(spec),
        name="digits-lenet",
        generation=generation,
        dataset=dataset,
        defaults=Defaults(image="trainer:1"),
        claim_access_modes=access_modes,
    )


def job_spec(spec: dict[str, Any] | None = None) -> TrainingJobSpec:
    return TrainingJobSpec.from_wire({"dataset": {"name": "digits"}, "model": {"name": "lenet"}, **(spec or {})})


def test_every_absent_field_is_filled_in_when_a_job_is_minimal() -> None:
    run = run_of()

    assert (run.recipe.epochs, run.recipe.batch_size, run.recipe.optimizer.learning_rate) == (30, 128, 0.001)
    assert run.recipe.loss is not None
    assert run.steps == 879  # 30 epochs of 3750 samples in batches of 128
    assert (run.workers.processes_per_node, run.workers.memory, run.workers.image) == (1, "2Gi", "trainer:1")
    assert (run.checkpoints.claim, run.checkpoints.created) == ("digits-lenet-checkpoints", True)


def test_the_hash_changes_when_anything_changes() -> None:
    assert run_of().hash == run_of().hash
    assert run_of().hash != run_of({"workers": {"nodes": 1, "processesPerNode": 2}}).hash


def test_the_hash_stays_when_the_spec_was_edited_in_what_may_change_at_any_time() -> None:
    edited = run_of({"runPolicy": {"suspend": True}}, generation=7)

    assert edited.generation == 7
    assert edited.hash == run_of().hash


def test_the_training_hash_stays_when_only_the_length_the_workers_or_what_is_looked_at_change() -> None:
    longer = run_of({"recipe": {"epochs": 60, "trace": {}}, "workers": {"processesPerNode": 2}})

    assert longer.training_hash == run_of().training_hash
    assert longer.training_hash != run_of({"recipe": {"seed": 1}}).training_hash


def test_a_run_survives_the_way_into_the_status_and_back() -> None:
    run = run_of({"workers": {"podTemplate": {"env": [{"name": "A", "value": "$(B)"}]}}})

    assert Run.from_wire(run.to_wire()) == run
    assert WorkerRun.from_wire(build_worker_run(run).to_wire()) == build_worker_run(run)


def test_sgd_gets_its_own_defaults_when_it_is_chosen() -> None:
    optimizer = run_of({"recipe": {"optimizer": {"name": "sgd"}}}).recipe.optimizer

    assert (optimizer.learning_rate, optimizer.momentum, optimizer.weight_decay) == (0.05, 0.9, 0.0005)
    assert optimizer.beta1 is None


@pytest.mark.parametrize(
    ("spec", "status", "says"),
    [
        (
            {"recipe": {"batchSize": 4000}},
            {},
            "spec.recipe.batchSize must be at most the number of training samples, 3750",
        ),
        ({"recipe": {"batchSize": 1}, "workers": {"processesPerNode": 2}}, {}, "at least the number of processes, 2"),
        ({}, {"sample_shape": [8, 8, 1]}, "spec.model.name must fit the images of Dataset digits, 8x8 pixels"),
        ({}, {"counts": {"train": 10}}, "raise split.validation"),
        (
            {"recipe": {"epochs": 0.1, "trace": {}}},
            {},
            "spec.recipe.trace.firstStep must be at most the run's steps, 3",
        ),
        ({"recipe": {"paramGroups": [{"match": "fc("}]}}, {}, "paramGroups.0..match must be a regular expression"),
        ({"dataset": {"name": "digits", "version": "ffff"}}, {}, "spec.dataset.version must be the version"),
    ],
)
def test_a_remedy_is_named_when_job_and_data_do_not_fit(
    spec: dict[str, Any], status: dict[str, Any], says: str
) -> None:
    with pytest.raises(UnresolvableError, match=says.replace("(", r"\(")):
        run_of(spec, **status)


@pytest.mark.parametrize("count", [2, 60])
def test_a_weight_of_no_class_is_refused_when_the_status_shows_all_names_as_they_are(count: int) -> None:
    weighted = {"recipe": {"loss": {"weightByClass": {"spma": 2, "<ham>": 2, "h\u00e4m": 2, "spam": 2}}}}
    shown = {"classes": ["spam", "\u2039ham\u203a"], "class_count": count}

    if count == 2:
        with pytest.raises(UnresolvableError, match=r"weightByClass\.spma must .*: the nearest are spam") as caught:
            run_of(weighted, **shown)
        assert len(caught.value.findings) == 1  # the others are for the trainer to judge
    else:
        run_of(weighted, **shown)


def test_the_nearest_classes_are_sought_for_a_few_names_when_many_are_unknown() -> None:
    """For a thousand names among as many classes it takes a minute, in which an operator does nothing else."""
    weights = {f"name-{number:04d}": 2.0 for number in range(1000)}
    with pytest.raises(UnresolvableError) as caught:
        run_of({"recipe": {"loss": {"weightByClass": weights}}}, classes=["a", "name", "c", "d"], class_count=4)

    remedies = [finding.remedy for finding in caught.value.findings]
    assert len(remedies) == len(weights)
    assert remedies[7].startswith("the nearest are name")
    assert set(remedies[8:]) == {"the first of 4 are a, name, c"}


def test_several_nodes_are_refused_when_the_data_can_be_mounted_once() -> None:
    with pytest.raises(UnresolvableError, match=r"storage\.accessModes"):
        run_of({"workers": {"nodes": 2}}, access_modes={"digits-data": ["ReadWriteOnce"]})


def test_the_first_change_is_named_when_a_frozen_spec_changes() -> None:
    run = run_of()

    assert first_spec_change(run, job_spec({"runPolicy": {"suspend": True}})) is None
    change = first_spec_change(run, job_spec({"recipe": {"seed": 5}}))
    assert change is not None
    assert (change.path, change.found) == ("spec.recipe.seed", "5")


@given(batch=st.integers(1, 3750), nodes=st.integers(1, 8), processes=st.integers(1, 8), epochs=st.floats(0.1, 100))
def test_each_process_can_hold_its_share_when_a_job_resolves(
    batch: int, nodes: int, processes: int, epochs: float
) -> None:
    spec = {
        "recipe": {"batchSize": batch, "epochs": epochs},
        "workers": {"nodes": nodes, "processesPerNode": processes},
    }
    if batch < nodes * processes:
        return
    run = run_of(spec)

    assert (run.recipe.micro_batch_size or 0) * nodes * processes >= batch
    assert run.steps * batch >= epochs * 3750 - 1


def test_intervals_of_whole_epochs_stay_whole_on_the_wire_for_the_trainers_of_before() -> None:
    """Images of before read frozen runs too, and take no 1.0 for a whole number."""
    spec = {"recipe": {"validation": {"every": {"epochs": 1}}}, "checkpoints": {"every": {"epochs": 0.5}}}

    run = run_of(spec)
    wire = run.to_wire()
    written = (wire["recipe"]["validation"]["every"]["epochs"], wire["checkpoints"]["every"]["epochs"])

    assert [(type(number), number) for number in written] == [(int, 1), (float, 0.5)]
    assert first_spec_change(run, job_spec(spec)) is None
    assert Run.from_wire(wire) == run
