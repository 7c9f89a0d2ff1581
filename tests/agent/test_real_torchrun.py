"""The agent with the real importer, the real torchrun and the real trainer below it."""

import signal
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from agent.real_runs import make_import_run, make_worker_run, real_pod, write_images

from control_plane.ports import pick_free_ports
from oarlock_api.contract import EXIT_SUSPENDED, DatasetFacts, Outcome

pytestmark = pytest.mark.train

STEPS = 1200


@dataclass(frozen=True)
class Imported:
    """A data set that an import pod has written."""

    folder: Path
    facts: DatasetFacts

    def variables(self, *, steps: int = STEPS) -> dict[str, str]:
        return {"RUN": make_worker_run(self.facts, steps=steps), "DATA_DIR": str(self.folder)}


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Imported:
    root = tmp_path_factory.mktemp("import")
    source, data = write_images(root / "source"), root / "data"
    data.mkdir()
    changes = {"RUN": make_import_run(), "SOURCE_DIR": str(source), "DATA_DIR": str(data)}
    with real_pod("import", root / "pod", **changes) as pod:
        assert pod.wait() == 0, pod.read_output()
        wire = pod.record().dataset
    assert wire is not None
    (manifest,) = data.rglob("dataset.json")
    return Imported(manifest.parent, DatasetFacts.from_wire(wire))


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def test_facts_of_the_data_set_are_reported_when_an_import_pod_succeeds(imported: Imported) -> None:
    assert imported.facts.classes == ["dark", "light"]
    assert sum(imported.facts.counts.values()) == 80


def test_training_finishes_in_the_same_pod_when_a_rank_is_killed(imported: Imported, tmp_path: Path) -> None:
    with real_pod("train", tmp_path, **imported.variables()) as pod:
        status = pod.wait_for(lambda status: status["step"] > 150 and "checkpointLatest" in status, seconds=240)
        victim = status["ranks"][1]["pid"]
        next(process for process in pod.processes() if process.pid == victim).send_signal(signal.SIGKILL)

        assert pod.wait(seconds=240) == 0, pod.read_output()
        record = pod.record()
        assert (record.outcome, record.step, record.retries) == (Outcome.SUCCEEDED, STEPS, 1)
        assert "Rank 1 (node rank 0" in record.warnings[0]
        assert "was killed by SIGKILL in phase Training" in record.warnings[0]
        assert "from the checkpoint of step" in (tmp_path / "run/logs/attempt-2-node-0.log").read_text()
        assert (tmp_path / "run" / record.export).exists()
        assert pod.survivors() == []


def test_training_resumes_in_a_new_pod_when_the_first_was_asked_to_stop(imported: Imported, tmp_path: Path) -> None:
    with real_pod("train", tmp_path, **imported.variables()) as pod:
        pod.wait_for(lambda status: status["step"] > 150, seconds=240)
        pod.agent.send_signal(signal.SIGTERM)
        assert pod.wait() == EXIT_SUSPENDED, pod.read_output()
        first = pod.record()
    with real_pod("train", tmp_path, **imported.variables(), ATTEMPT="3") as pod:
        assert pod.wait(seconds=240) == 0, pod.read_output()
        second = pod.record()

    assert first.checkpoint_latest is not None
    assert STEPS > first.checkpoint_latest["step"] == first.step > 150
    assert second.step == STEPS
    assert f"from the checkpoint of step {first.step}" in (tmp_path / "run/logs/attempt-3-node-0.log").read_text()


def test_ranks_follow_the_nodes_and_all_stop_when_one_of_two_pods_is_asked_to(
    imported: Imported, tmp_path: Path
) -> None:
    shared = {
        **imported.variables(steps=100_000),
        "NODES": "2",
        "PROCESSES_PER_NODE": "1",
        "RENDEZVOUS_ENDPOINT": f"localhost:{pick_free_ports(1)[0]}",
        "RENDEZVOUS_ID": "job-a2",
        "JOIN_TIMEOUT_SECONDS": "60",
        "RUN_DIR": str(tmp_path / "run"),
    }
    with ExitStack() as stack:
        # The later node first, so that order of arrival cannot make the ranks right.
        pods = {
            node: stack.enter_context(real_pod("train", tmp_path / str(node), **shared, NODE_RANK=str(node)))
            for node in (1, 0)
        }
        first = pods[0].wait_for(lambda status: status["step"] > 50 and status["metrics"], seconds=240)
        second = pods[1].wait_for(lambda status: status["ranks"])
        pods[1].agent.send_signal(signal.SIGTERM)
        codes = [pods[node].wait() for node in (0, 1)]

        assert [first["ranks"][0]["rank"], second["ranks"][0]["rank"]] == [0, 1]
        assert codes == [EXIT_SUSPENDED, EXIT_SUSPENDED], pods[0].read_output()
        latest = pods[0].record().checkpoint_latest
        assert latest is not None
        assert latest["step"] == pods[0].record().step > 50
