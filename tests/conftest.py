"""Fixtures that several topics share: one real control plane a run, with the project's own definitions in it."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from control_plane.server import ControlPlane

DEFINITIONS = sorted((Path(__file__).parents[1] / "crds").glob("*.yaml"))

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def control_plane(request: pytest.FixtureRequest) -> Iterator[ControlPlane]:
    """A control plane that serves Datasets and TrainingJobs."""
    # They are there before the controller manager starts, which takes up to half a minute to see later ones.
    definitions = [yaml.safe_load(path.read_text()) for path in DEFINITIONS]
    # A first build takes minutes: its progress must get past pytest's capture.
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        running = ControlPlane(crds=definitions).start()
    yield running
    running.check()
    running.stop()


@pytest.fixture
def namespace(control_plane: ControlPlane, request: pytest.FixtureRequest) -> str:
    """A namespace of the test's own."""
    name = request.node.name.split("[")[0].removeprefix("test_").replace("_", "-")
    return control_plane.create_namespace(f"{name[:50].rstrip('-')}-{next(_numbers)}")
