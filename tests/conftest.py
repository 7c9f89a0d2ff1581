"""Fixtures that several topics share: one real control plane a run, with the project's own definitions in it."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sharing_out
import yaml
from hypothesis import HealthCheck, settings

from control_plane.server import ControlPlane

DEFINITIONS = sorted((Path(__file__).parents[1] / "crds").glob("*.yaml"))

_numbers = itertools.count(1)

# Before anybody imports torch: its threads wait for one another by spinning, and each core runs another test already.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Some set this for all that they do; each of some three hundred processes would compile the modules of this tree for itself then.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Examples are judged by what they show, never by how busy the machine is. They are the same every time, so that what fails is what
# was changed; whoever looks for more sets OARLOCK_TEST_EXPLORE.
settings.register_profile(
    "any machine",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="OARLOCK_TEST_EXPLORE" not in os.environ,
)
settings.load_profile("any machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    sharing_out.sort(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> sharing_out.UnitScheduling:
    """Share the tests out among workers, however many, as this suite needs it, whatever `--dist` says."""
    return sharing_out.UnitScheduling(config, log)


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
