import json
from typing import Any

import pytest
from controlled_world import DATASET, JOB, NAMESPACE, World, checkpoint, refer
from fake_cluster import refuse

from oarlock_operator import names
from oarlock_operator.cluster.port import ConflictError, UnavailableError
from oarlock_operator.metrics import Metrics
from oarlock_operator.reconcile.plans import Reference


async def test_job_succeeds_when_its_data_is_imported_and_its_pod_ends_well(world: World) -> None:
    pods = await world.train()
    assert world.status()["phase"] == "Training"

    world.end_pod(pods[0], step=100, steps=100, metrics={"validation/accuracy": 0.98})
    await world.settle()

    assert world.status()["phase"] == "Succeeded"
    assert world.status()["progress"]["step"] == 100
    assert [note.reason for _, note in world.cluster.notes][-1] == "Succeeded"


async def test_job_waits_and_starts_by_itself_when_its_dataset_comes_later(world: World) -> None:
    await world.apply_job()
    assert world.status()["phase"] == "WaitingForData"
    assert world.pods() == []

    await world.import_data()

    assert world.status()["phase"] == "Starting"
    assert len(world.pods()) == 1


async def test_nothing_is_created_when_the_spec_is_invalid(world: World) -> None:
    await world.import_data()
    await world.apply_job(recipe={"epochs": 2, "maxSteps": 5})

    assert world.status()["phase"] == "Invalid"
    assert world.pods() == []


async def test_every_child_is_created_once_when_the_watches_are_late(world: World) -> None:
    await world.import_data()
    world.cluster.hold_events("Pod", "Service", "PersistentVolumeClaim")
    await world.apply_job(nodes=3)
    await world.pass_time(60)
    world.cluster.release_events()
    world.cluster.repeat_events()
    await world.settle()

    assert [world.cluster.count("create", kind) for kind in ("Pod", "Service")] == [1 + 3, 1]


async def test_new_attempt_starts_once_when_a_pod_fails(world: World) -> None:
    pods = await world.train(nodes=2)
    world.end_pod(pods[1], outcome="Failed", exit_code=81, failure={"cause": "ProcessKilled", "message": "killed"})
    await world.pass_time(30)
    assert (world.status()["phase"], world.status()["attempt"]) == ("Restarting", 1)
    assert all("deletionTimestamp" in pod["metadata"] for pod in world.pods() if pod["status"]["phase"] == "Running")

    world.finish_deletions()
    await world.pass_time(60)

    attempts = [pod["metadata"]["labels"][names.ATTEMPT_LABEL] for pod in world.pods()]
    assert attempts == ["1", "1"]
    assert world.status()["restartCount"] == 1


async def test_status_is_planned_anew_when_somebody_changed_the_object_meanwhile(world: World) -> None:
    await world.import_data()
    world.cluster.fail_next("write_status", "TrainingJob", *[ConflictError("modified", reference=JOB)] * 2)
    await world.apply_job()

    assert world.status()["phase"] == "Starting"
    assert world.cluster.count("get", "TrainingJob") >= 2


async def test_pod_is_taken_over_when_it_was_created_before_a_crash(world: World) -> None:
    await world.import_data()
    world.cluster.hold_events("Pod")
    await world.apply_job()
    before = world.pods()[0]["metadata"]["uid"]
    world.cluster.lose_events()
    await world.restart()

    assert [pod["metadata"]["uid"] for pod in world.pods()] == [before]
    assert world.status()["restartCount"] == 0


async def test_job_says_who_is_in_the_way_when_its_pods_name_is_taken(world: World) -> None:
    await world.import_data()
    stranger = {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": NAMESPACE, "name": ""}, "spec": {}}
    await world.kill()
    await world.cluster.create(_job_manifest(world))
    uid = world.cluster.objects[JOB]["metadata"]["uid"]
    stranger["metadata"]["name"] = names.worker_pod_name(JOB.name, uid, attempt=0, rank=0)  # type: ignore[index]
    await world.cluster.create(stranger)
    await world.start()

    assert world.status()["reason"] == "NameTaken"
    assert "does not belong to this job" in world.status()["message"]

    world.cluster.remove(refer(stranger))
    await world.pass_time(15)
    assert len(world.pods()) == 1


async def test_refusal_is_told_and_tried_again_later_when_the_quota_is_used_up(world: World) -> None:
    await world.import_data()
    world.cluster.fail_next("create", "Pod", refuse("exceeded quota: pods=1"))
    await world.apply_job()

    assert "exceeded quota" in world.status()["message"]
    assert world.pods() == []

    await world.pass_time(600)
    assert len(world.pods()) == 1


async def test_nothing_is_created_when_the_server_drops_part_of_the_status(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.import_data()
    world.cluster.drops = {"run"}

    await world.apply_job()

    assert world.pods() == []
    assert "dropped status.run" in caplog.text


async def test_status_is_left_alone_when_it_cannot_be_read(world: World, caplog: pytest.LogCaptureFixture) -> None:
    await world.train()
    world.cluster.edit(JOB, lambda job: job["status"].update(attempt="several"))
    await world.settle()

    assert world.status()["attempt"] == "several"
    assert "status.attempt" in caplog.text


async def test_other_jobs_go_on_when_one_keeps_failing(world: World) -> None:
    await world.train()
    world.cluster.edit(JOB, lambda job: job["status"].update(attempt="several"))
    other = await world.apply_job(name="other")

    assert world.status(other)["phase"] == "Starting"


async def test_work_goes_on_when_the_server_was_away(world: World) -> None:
    await world.import_data()
    world.cluster.fail_next("write_status", "TrainingJob", *[UnavailableError("down", retry_after=3)] * 4)
    await world.apply_job()
    assert world.status() == {}

    await world.pass_time(60)

    assert world.status()["phase"] == "Starting"


async def test_deleted_pod_is_a_free_restart_when_the_watch_lost_the_event(world: World) -> None:
    pods = await world.train()
    world.cluster.hold_events("Pod")
    world.cluster.remove(refer(pods[0]))
    world.cluster.finish_pod(refer(pods[0]))
    world.cluster.lose_events()
    await world.pass_time(60)

    assert world.status()["attempt"] == 1
    assert world.status()["countedRestarts"] == 0


async def test_pods_are_not_replaced_when_only_the_cache_lost_them(world: World) -> None:
    pods = await world.train(nodes=2)
    world.controller.store.forget(refer(pods[1]), asked=world.controller.store.mark("Pod"))
    await world.pass_time(30)

    assert world.status()["attempt"] == 0
    assert world.status()["restartCount"] == 0
    assert len(world.controller.store.pods_of(JOB)) == 2


async def test_edit_is_obeyed_when_the_watch_brings_it_before_the_operators_own_writes(world: World) -> None:
    await world.import_data()
    await world.apply_job()
    world.run_pods()
    world.cluster.hold_events("TrainingJob")
    world.answer(world.pods()[0], step=1)
    await world.pass_time(10)
    assert world.status()["phase"] == "Training"

    world.cluster.edit(JOB, lambda job: job["spec"].update(runPolicy={"suspend": True}))
    world.cluster.lose_events()
    await world.settle()

    assert world.status()["reason"] == "Suspending"


async def test_resync_repairs_what_a_watch_never_told(world: World) -> None:
    pods = await world.train()
    world.controller.store.forget(DATASET, asked=world.controller.store.mark("Dataset"))
    world.cluster.hold_events("Pod", "Dataset")
    world.end_pod(pods[0], step=100, steps=100)
    await world.settle()
    assert world.status()["phase"] == "Training"

    await world.pass_time(world.settings.resync_seconds * 2)

    assert world.status()["phase"] == "Succeeded"
    assert world.controller.store.load(DATASET)


async def test_dataset_is_held_while_an_unfinished_job_uses_it(world: World) -> None:
    pods = await world.train()
    assert world.cluster.objects[DATASET]["metadata"]["finalizers"] == [names.IN_USE_FINALIZER]
    world.cluster.remove(DATASET)
    await world.settle()
    assert DATASET in world.cluster.objects

    world.end_pod(pods[0], step=100, steps=100)
    await world.settle()

    assert DATASET not in world.cluster.objects


async def test_nothing_of_a_job_is_left_in_memory_when_it_is_deleted(world: World) -> None:
    await world.train()
    world.cluster.remove(JOB)
    world.finish_deletions()
    await world.settle()

    assert world.pods() == []
    assert [claim["metadata"]["name"] for claim in world.cluster.find("PersistentVolumeClaim")] == [
        "digits-data",
        "lenet-checkpoints",
    ]
    assert not world.controller.store.pods_of(JOB)
    assert not world.controller.store.users_of(DATASET)


async def test_job_of_the_same_name_starts_afresh_on_the_old_claim_when_it_is_applied_again(world: World) -> None:
    await world.train()
    world.cluster.remove(JOB)
    await world.apply_job()
    world.finish_deletions()
    await world.settle()

    assert world.cluster.count("create", "PersistentVolumeClaim") == 2
    assert [identity_of(pod) for pod in world.pods()] == [world.cluster.objects[JOB]["metadata"]["uid"]]


async def test_claim_that_the_user_brings_is_watched_though_it_carries_no_label(world: World) -> None:
    await world.import_data()
    claim = {"metadata": {"name": "mine", "namespace": NAMESPACE}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    await world.cluster.create({"apiVersion": "v1", "kind": "PersistentVolumeClaim", **claim})
    await world.apply_job(checkpoints={"volume": {"claim": "mine"}})
    assert "mine" not in world.status()["message"]

    mine = Reference(kind="PersistentVolumeClaim", namespace=NAMESPACE, name="mine")
    world.cluster.edit(mine, lambda each: each["status"].update(phase="Lost"))
    await world.pass_time(15)

    assert "mine" in world.status()["message"]


async def test_suspended_job_says_so_when_the_last_pod_is_gone(world: World) -> None:
    await world.train(nodes=2)
    world.cluster.edit(JOB, lambda job: job["spec"].update(runPolicy={"suspend": True}))
    await world.settle()
    assert world.status()["reason"] == "Suspending"

    world.finish_deletions()
    await world.settle()
    assert world.status()["reason"] == "Suspended"

    world.cluster.edit(JOB, lambda job: job["spec"].update(runPolicy={"suspend": False}))
    await world.settle()
    assert len(world.pods()) == 2


async def test_final_step_comes_from_the_record_when_the_agent_was_never_reached(world: World) -> None:
    await world.import_data()
    await world.apply_job()
    world.run_pods()
    await world.settle()

    world.end_pod(world.pods()[0], step=94, steps=94, checkpoint_latest=checkpoint(94))
    await world.settle()

    assert world.status()["progress"]["step"] == 94
    assert world.status()["checkpoint"]["latest"]["step"] == 94


async def test_jobs_of_one_dataset_are_not_all_planned_when_another_joins_them(world: World) -> None:
    planned: list[str] = []

    class Counter(Metrics):
        def count_reconcile(self, *, kind: str, result: str, seconds: float) -> None:  # noqa: ARG002
            planned.append(kind)

    await world.import_data()
    for number in range(10):
        await world.apply_job(name=f"job-{number}")
    world.controller._metrics = Counter()
    await world.apply_job(name="another")

    assert planned.count("TrainingJob") <= 4


async def test_status_stays_small_and_the_memory_of_it_is_text(world: World) -> None:
    await world.train()

    assert len(json.dumps(world.status())) < 16 * 1024
    assert isinstance(world.controller.store.jobs.get(_name(JOB)).text, bytes)  # type: ignore[union-attr]


def identity_of(pod: dict[str, Any]) -> str:
    return str(pod["metadata"]["ownerReferences"][0]["uid"])


def _name(reference: Reference) -> Any:
    return (reference.namespace, reference.name)


def _job_manifest(world: World) -> dict[str, Any]:
    spec = {
        "dataset": {"name": "digits"},
        "model": {"name": "lenet"},
        "recipe": {"epochs": 2, "batchSize": 64},
        "workers": {"nodes": 1, "gpusPerNode": 0, "processesPerNode": 1},
        "checkpoints": {"volume": {"size": "1Gi"}},
    }
    metadata = {"name": JOB.name, "namespace": JOB.namespace}
    return {"apiVersion": "oarlock.dev/v1alpha1", "kind": "TrainingJob", "metadata": metadata, "spec": spec}
