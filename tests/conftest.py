"""Fixtures that several topics share: one real control plane a run, with the project's own definitions in it."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, settings

from control_plane.server import ControlPlane

DEFINITIONS = sorted((Path(__file__).parents[1] / "crds").glob("*.yaml"))

_numbers = itertools.count(1)

# Examples are judged by what they show, never by how busy the machine is.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of the API server in one process: one control plane is enough for a machine."""
    for item in items:
        if item.get_closest_marker("kube"):
            item.add_marker(pytest.mark.xdist_group("kube"))


@pytest.fixture(scope="session")
def control_plane(request: pytest.FixtureRequest) -> Iterator[ControlPlane]:
    """A control plane that serves Datasets and TrainingJobs."""
    # They are there before the controller manager starts, which takes up to half a minute to see later ones.
    definitions = [yaml.safe_load(path.read_text()) for path in DEFINITIONS]
    # A first build takes minutes: its progress must get past pytest's capture.
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        running = ControlPlane(crds=definitions, audits=True).start()
    yield running
    running.check()
    running.stop()


@pytest.fixture
def namespace(control_plane: ControlPlane, request: pytest.FixtureRequest) -> str:
    """A namespace of the test's own."""
    name = request.node.name.split("[")[0].removeprefix("test_").replace("_", "-")
    return control_plane.create_namespace(f"{name[:50].rstrip('-')}-{next(_numbers)}")
