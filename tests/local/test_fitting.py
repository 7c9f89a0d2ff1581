"""Workers fit the machine, and every change is said."""

from typing import Any

import pytest

from oarlock.fit import fit_job
from oarlock.local.machine import Machine

LAPTOP = Machine(cpus=4, memory=2**33)
STATION = Machine(cpus=16, memory=2**36, gpus=("0", "1"))


def make_job(**workers: Any) -> dict[str, Any]:
    return {"kind": "TrainingJob", "spec": {"model": {"name": "lenet"}, "workers": workers}}


CASES = [
    ("silent on a laptop", LAPTOP, {}, None, {"resources": {"cpu": 4}}, []),
    ("silent beside GPUs", STATION, {}, None, {}, []),
    ("many nodes", LAPTOP, {"nodes": 8}, None, {"nodes": 1, "resources": {"cpu": 4}}, ["workers.nodes: 8 → 1"]),
    (
        "elastic",
        LAPTOP,
        {"nodes": 4, "elastic": {"minNodes": 2, "maxNodes": 8}},
        None,
        {"nodes": 1, "resources": {"cpu": 4}},
        ["workers.nodes: 4 → 1", "workers.elastic: left out"],
    ),
    ("nodes asked for", LAPTOP, {}, 2, {"nodes": 2, "resources": {"cpu": 2}}, ["workers.nodes: 1 → 2"]),
    (
        "GPUs on a laptop",
        LAPTOP,
        {"gpusPerNode": 8, "resources": {"cpu": 96, "memory": "1Ti"}},
        None,
        {"gpusPerNode": 0, "resources": {"cpu": 4}},
        ["workers.gpusPerNode: 8 → 0 (this machine has no GPUs)", "workers.resources.cpu: 96", "workers.resources.memory: 1Ti"],
    ),
    (
        "more GPUs than there are",
        STATION,
        {"gpusPerNode": 8},
        None,
        {"gpusPerNode": 2},
        ["workers.gpusPerNode: 8 → 2 (this machine has 2 GPUs)"],
    ),
    ("fewer GPUs than there are", STATION, {"gpusPerNode": 1}, None, {"gpusPerNode": 1}, []),
    ("CPU beside GPUs", STATION, {"gpusPerNode": 0}, None, {"gpusPerNode": 0, "resources": {"cpu": 16}}, []),
    (
        "many processes",
        LAPTOP,
        {"processesPerNode": 64},
        None,
        {"processesPerNode": 4, "resources": {"cpu": 4}},
        ["workers.processesPerNode: 64 → 4 (4 cores for 1 node)"],
    ),
    ("many cores", LAPTOP, {"resources": {"cpu": 32}}, None, {"resources": {"cpu": 4}}, ["workers.resources.cpu: 32 → 4"]),
    ("few cores", LAPTOP, {"resources": {"cpu": 1}}, None, {"resources": {"cpu": 1}}, []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("machine", "workers", "nodes", "fitted", "said"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_workers_fit_and_changes_are_said(
    machine: Machine, workers: dict[str, Any], nodes: int | None, fitted: dict[str, Any], said: list[str]
) -> None:
    job = make_job(**workers)
    result = fit_job(job, machine, nodes=nodes)

    assert result.body["spec"]["workers"] == fitted
    assert len(result.changes) == len(said)
    assert all(change.startswith(words) for change, words in zip(result.changes, said, strict=True))
    assert job == make_job(**workers)  # untouched


def test_policies_of_clusters_are_left_out_on_a_machine_of_ones_own() -> None:
    job = make_job()
    job["spec"]["runPolicy"] = {"ttlSecondsAfterFinished": 60, "backoffLimit": 1, "queue": "team"}

    result = fit_job(job, LAPTOP)

    assert result.body["spec"]["runPolicy"] == {"backoffLimit": 1}
    assert [change.split(":")[0] for change in result.changes] == [
        "runPolicy.ttlSecondsAfterFinished",
        "runPolicy.queue",
    ]


def test_images_are_left_out_where_the_program_runs_with_the_machines_own_python() -> None:
    job = make_job(podTemplate={"image": "mine:1", "labels": {"team": "vision"}})
    job["spec"] = {"script": {"command": ["train.py"]}, "workers": job["spec"]["workers"]}
    fitted = fit_job(job, LAPTOP)

    assert fitted.body["spec"]["workers"]["podTemplate"] == {"labels": {"team": "vision"}}
    assert [line.partition(":")[0] for line in fitted.changes if "image" in line] == ["workers.podTemplate.image"]
