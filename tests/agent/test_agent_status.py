"""The status port: what it says, and what it withstands."""

import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from agent.pods import Pod, make_environment
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from oarlock_api.contract import EXIT_CODES, MAX_STATUS_BYTES, Cause, PodPhase, WorkerStatus
from oarlock_api.metrics import METRICS, METRICS_BY_NAME
from oarlock_trainer.agent.config import Mode, read_config
from oarlock_trainer.agent.progress import Progress
from oarlock_trainer.agent.prometheus import AGENT_FAMILIES, render_metrics
from oarlock_trainer.agent.server import StatusServer
from oarlock_trainer.agent.status import Board, Snapshot, build_status_json, build_worker_status
from oarlock_trainer.rank_record import RankReading

StartPod = Callable[..., Pod]

_LISTED = {metric.prometheus_name for metric in METRICS} | {family.prometheus_name for family in AGENT_FAMILIES}


def make_reading(rank: int = 0, **changes: object) -> RankReading:
    values = {"pid": 100 + rank, "phase": PodPhase.TRAINING, "counter": 1, "step": 4, "position": 40, "since": 9.0}
    return RankReading(rank=rank, **{**values, **changes})  # type: ignore[arg-type]


def make_snapshot(report: dict[str, object], **changes: object) -> Snapshot:
    reading = make_reading(report=report)
    values = {"progress": Progress().updated(reading), "readings": {0: reading}, "resident_bytes": {0: 1024}}
    return Snapshot(phase=PodPhase.TRAINING, phase_since=1.0, **{**values, **changes})  # type: ignore[arg-type]


def test_status_names_every_rank_when_they_train(start_pod: StartPod) -> None:
    pod = start_pod("until_stopped")
    status = pod.wait_for(lambda status: len(status["ranks"]) == 2 and status["ranks"][1]["step"] > 2)

    assert (status["phase"], status["attempt"], status["node"], status["retries"]) == ("Training", 2, 0, 0)
    assert [rank["rank"] for rank in status["ranks"]] == [0, 1]
    assert {rank["pid"] for rank in status["ranks"]} <= {process.pid for process in pod.processes()}
    assert all(rank["rss"] > 1_000_000 and abs(rank["since"] - time.time()) < 5 for rank in status["ranks"])
    assert pod.read("/healthz") == "ok\n"


def test_figures_leave_json_and_are_named_when_they_are_not_finite(start_pod: StartPod) -> None:
    pod = start_pod("not_finite")
    status = pod.wait_for(lambda status: status["nonFinite"])

    assert (status["metrics"], status["nonFinite"]) == ({"learningRate": 0.1}, ["train/loss"])
    assert status["warnings"] == ["careful"]
    assert "oarlock_trainer_non_finite_metrics 1" in pod.read("/metrics")


def test_page_parses_and_names_only_listed_metrics_when_all_are_reported() -> None:
    checkpoint = {"step": 3, "epoch": 0.3, "path": "p", "bytes": 77, "time": 5.0}
    report = {
        "metrics": dict.fromkeys([*METRICS_BY_NAME, "generator/loss"], 0.5),
        "activity": {"cpuCores": 1.5},
        "steps": 8,
        "eta_seconds": 6.0,
        "checkpoint_latest": checkpoint,
        "startup_seconds": {"Loading": 0.25, "odd": None},
        "world_size": 2,
        "build": {"torch": "2.13"},
    }
    families = list(text_string_to_metric_families(render_metrics(make_snapshot(report, retries=2))))
    samples = {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}

    assert {name for name, _ in samples} == _LISTED
    assert all(family.documentation and family.type in {"gauge", "counter"} for family in families)
    assert len(families) == len({family.name for family in families})
    assert all(len({tuple(sample.labels) for sample in family.samples}) == 1 for family in families), "sums would lie"
    assert samples["oarlock_trainer_loss", (("split", "validation"),)] == 0.5
    assert samples["oarlock_trainer_progress_ratio", ()] == 0.5
    assert samples["oarlock_trainer_checkpoint_bytes", ()] == 77
    assert samples["oarlock_trainer_rank_rss_bytes", (("rank", "0"),)] == 1024
    assert samples["oarlock_trainer_phase", (("phase", "Training"),)] == 1
    assert sum(value for (name, _), value in samples.items() if name == "oarlock_trainer_phase") == 1


@given(
    st.dictionaries(st.sampled_from([*METRICS_BY_NAME, "user/figure"]), st.floats() | st.none() | st.text(max_size=3))
)
def test_page_parses_when_ranks_report_anything(metrics: dict[str, object]) -> None:
    page = render_metrics(make_snapshot({"metrics": metrics}))
    names = {sample.name for family in text_string_to_metric_families(page) for sample in family.samples}

    assert names <= _LISTED


@given(warnings=st.lists(st.text(max_size=3000), max_size=60), ranks=st.integers(1, 600))
def test_status_fits_the_limit_and_parses_when_there_is_too_much_to_say(warnings: list[str], ranks: int) -> None:
    readings = {rank: make_reading(rank) for rank in range(ranks)}
    config = read_config(Mode.TRAIN, make_environment(Path("/pod")))
    text = build_status_json(config, make_snapshot({"warnings": warnings}, readings=readings), now=12.5)

    assert len(text.encode()) <= MAX_STATUS_BYTES
    status = WorkerStatus.from_wire(json.loads(text))
    assert (status.step, status.time) == (4, 12.5)


def test_figures_of_the_try_before_stay_when_a_new_one_has_not_reported_yet() -> None:
    before = Progress().updated(make_reading(report={"steps": 9, "metrics": {"train/loss": 0.5}}))
    snapshot = make_snapshot({}, progress=before.updated(make_reading(step=None, position=None, report={})))
    status = build_worker_status(read_config(Mode.TRAIN, make_environment(Path("/pod"))), snapshot)

    assert (status.step, status.position, status.steps, status.metrics) == (4, 40, 9, {"train/loss": 0.5})


def test_pod_ends_with_the_address_in_its_message_when_the_port_is_taken(start_pod: StartPod) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        pod = start_pod("succeed", STATUS_PORT=str(other.getsockname()[1]))

        assert pod.wait() == EXIT_CODES[Cause.CONFIG_INVALID]
        failure = pod.record().failure
        assert failure is not None
        assert f"127.0.0.1:{other.getsockname()[1]}: Address already in use" in failure["message"]


@pytest.fixture
def address() -> tuple[str, int]:
    """A status server without a pod around it."""
    environment = make_environment(Path("/pod"))
    config = read_config(Mode.TRAIN, environment)
    StatusServer(config, Board(now=0.0))
    return config.pod_ip, config.status_port


def test_answer_tells_the_time_of_its_node(address: tuple[str, int]) -> None:
    asked = time.time()
    with urllib.request.urlopen(f"http://{address[0]}:{address[1]}/status", timeout=30) as answer:
        status = json.load(answer)

    assert asked <= status["time"] <= time.time()


def test_unknown_paths_and_methods_are_refused_when_asked_for(address: tuple[str, int]) -> None:
    for request, code in [("/secret", 404), ("/../status", 404)]:
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"http://{address[0]}:{address[1]}{request}", timeout=30)
        assert caught.value.code == code
    post = urllib.request.Request(f"http://{address[0]}:{address[1]}/status", data=b"x" * 1000, method="POST")
    with pytest.raises(urllib.error.HTTPError, match="501"):
        urllib.request.urlopen(post, timeout=30)


def test_others_are_answered_when_clients_connect_and_say_nothing(address: tuple[str, int]) -> None:
    silent = [socket.create_connection(address) for _ in range(10)]
    with urllib.request.urlopen(f"http://{address[0]}:{address[1]}/healthz", timeout=30) as answer:
        assert answer.status == 200
    for connection in silent:
        connection.close()


def test_health_says_so_when_the_main_loop_is_silent(tmp_path: Path) -> None:
    config = read_config(Mode.TRAIN, make_environment(tmp_path))
    board = Board(now=0.0)
    board.ticked_at = time.monotonic() - 100
    StatusServer(config, board)

    with pytest.raises(urllib.error.HTTPError, match="503"):
        urllib.request.urlopen(f"http://{config.pod_ip}:{config.status_port}/healthz", timeout=30)
