"""Two nodes with a network between them, whose cable is pulled while they train: real agents, real torchrun, real packets."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from agent.network_spaces import Network, NotAllowedError, make_network
from agent.pods import Pod, make_environment
from faults.fault import match_shape
from faults.hang_faults import HANG_FAULTS
from training.small_runs import make_run, read_losses, train_run, write_small_dataset

from oarlock_api.contract import Cause, Failure
from oarlock_api.run import WorkerRun

pytestmark = pytest.mark.train

_FAULT = next(fault for fault in HANG_FAULTS if fault.name == "node-cut-off")
_DEADLINES = (12, 40, 180)
"""Seconds without progress after which ranks count as hung."""
_COMPLETE = "step-?????????"
"""Checkpoints under way have longer names."""


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with ExitStack() as stack:
        try:
            made = stack.enter_context(make_network(nodes=2))
        except NotAllowedError as error:
            pytest.skip(f"NOT RUN: this machine allows no network namespaces: {error}")
        yield made


def start_agent(node: int, network: Network, folder: Path, run: WorkerRun, *, deadline: int) -> Pod:
    scratch = folder / f"node-{node}"
    scratch.mkdir(parents=True)
    environment = make_environment(
        scratch,
        RUN=json.dumps(run.to_wire()),
        JOB_UID="uid",
        ATTEMPT="0",
        NODES="2",
        NODE_RANK=str(node),
        PROCESSES_PER_NODE="1",
        PROGRESS_DEADLINE_SECONDS=str(deadline),
        POD_NAME=f"job-{node}",
        POD_IP=network.address(node),
        RENDEZVOUS_ENDPOINT=f"{network.address(0)}:29400",
        RENDEZVOUS_ID="job",
        JOIN_TIMEOUT_SECONDS="120",
        DATA_DIR=str(folder.parent / "data"),
        RUN_DIR=str(folder.parent / "cut"),
    )
    # A pod's host name has the pod's address; here all nodes have this machine's name.
    environment["GLOO_SOCKET_IFNAME"] = "eth0"
    return Pod([*network.enter(node), sys.executable, "-m", "oarlock_trainer.agent", "train"], environment, scratch)


def read_failure(pod: Pod) -> Failure:
    failure = pod.record().failure
    assert failure is not None, pod.read_output()
    return Failure.from_wire(failure)


def start_training(network: Network, folder: Path, run: WorkerRun) -> list[Pod]:
    """Return the agents of two nodes that have written a checkpoint.

    On a busy machine ranks may be silent for longer than the deadline before they train: then another, longer one is tried.
    """
    for deadline in _DEADLINES:
        pods = [start_agent(node, network, folder / f"pods-{deadline}", run, deadline=deadline) for node in (0, 1)]
        if has_checkpoint(pods, folder / "cut"):
            return pods
        end(pods)
    raise AssertionError(pods[0].read_output())


def has_checkpoint(pods: list[Pod], run_dir: Path) -> bool:
    while not list((run_dir / "checkpoints").glob(_COMPLETE)):
        if any(pod.agent.poll() is not None for pod in pods):
            return False
        time.sleep(0.02)
    return True


def end(pods: list[Pod]) -> None:
    for pod in pods:
        pod.destroy()


def test_the_survivor_names_the_node_that_is_cut_off_and_training_resumes_exactly(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run = make_run(
        write_small_dataset(tmp_path / "data"),
        steps=1_000_000,
        recipe={"validation": {"every": {"steps": 1_000_000}}},
        checkpointEvery={"steps": 20},
    )
    pods = start_training(network, tmp_path, run)
    try:
        network.cut(1)
        codes = [pod.wait() for pod in pods]
    finally:
        end(pods)

    failures = [read_failure(pod) for pod in pods]
    assert all(code != 0 for code in codes)
    assert [failure.cause for failure in failures] == [Cause.COLLECTIVE_FAILED] * 2, pods[0].read_output()
    for failure, lost in zip(failures, (1, 0), strict=True):
        assert (failure.node, failure.rank) == (lost, lost)
        name = f"Nothing answers at node rank {lost} (pod job-{lost}, {network.address(lost)}) with rank {lost}."
        assert name in failure.message
        assert match_shape(_FAULT.message, failure.message)
        assert _FAULT.remedy in failure.remedy

    saved = max(int(path.name.removeprefix("step-")) for path in (tmp_path / "cut/checkpoints").glob(_COMPLETE))
    resumed = train_run(run, tmp_path, processes=2, name="cut", stop_at=saved + 20)
    train_run(run, tmp_path, processes=2, name="undisturbed", stop_at=saved + 20)
    losses, reference = read_losses(tmp_path / "cut"), read_losses(tmp_path / "undisturbed")
    common = losses.keys() & reference.keys()
    assert resumed.facts["steps"] > 0
    assert common >= set(range(1, saved + 20))
    assert {step: losses[step] for step in common} == {step: reference[step] for step in common}
