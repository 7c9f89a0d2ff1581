"""The series of a job: they say what its status says, and go with the job."""

import socket

import pytest
from prometheus_client import generate_latest

from control_plane.ports import pick_free_ports
from oarlock_api.v1alpha1.status import Goodput, GoodputLoss, GpuHours
from oarlock_operator.prometheus_metrics import PrometheusMetrics
from oarlock_operator.reconcile.plans import Reference

KEY = Reference(kind="TrainingJob", namespace="team", name="lenet")
GOODPUT = Goodput(
    training_seconds=75.5,
    gpu_hours=GpuHours(training=1.25),
    losses=[GoodputLoss(phase="LostSteps", cause="NodeLost", seconds=25, gpu_hours=0.5)],
)


def scrape(metrics: PrometheusMetrics) -> list[str]:
    lines = generate_latest(metrics.registry).decode().splitlines()
    return [line for line in lines if line.startswith("oarlock_operator_job_")]


def test_a_job_is_shown_by_phase_and_cause_when_its_goodput_is_known() -> None:
    metrics = PrometheusMetrics()

    metrics.show_goodput(KEY, GOODPUT)

    job = 'job="lenet",namespace="team"'
    assert sorted(scrape(metrics)) == [
        f'oarlock_operator_job_gpu_hours_total{{cause="",{job},phase="Training"}} 1.25',
        f'oarlock_operator_job_gpu_hours_total{{cause="NodeLost",{job},phase="LostSteps"}} 0.5',
        f'oarlock_operator_job_phase_seconds_total{{cause="",{job},phase="Training"}} 75.5',
        f'oarlock_operator_job_phase_seconds_total{{cause="NodeLost",{job},phase="LostSteps"}} 25.0',
    ]


def test_no_series_is_left_when_a_job_is_gone() -> None:
    metrics = PrometheusMetrics()
    metrics.show_goodput(KEY, GOODPUT)

    metrics.show_goodput(KEY, None)

    assert scrape(metrics) == []


def test_somebody_who_connects_and_asks_nothing_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oarlock_operator.prometheus_metrics._SCRAPER_SECONDS", 0.2)
    [port] = pick_free_ports(1)
    PrometheusMetrics().serve(port)

    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\n")
        assert connection.recv(100) == b""
