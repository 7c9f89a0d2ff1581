from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from conformance.subjects import FakeSubject, LocalSubject, Subject, open_kubernetes


@pytest.fixture(params=["fake", "local", pytest.param("kubernetes", marks=pytest.mark.kube)])
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    """Each of the clusters in turn."""
    if request.param == "fake":
        yield FakeSubject()
    elif request.param == "local":
        local = LocalSubject(tmp_path)
        yield local
        local.close()
    else:
        namespace, control_plane = (request.getfixturevalue(name) for name in ("namespace", "control_plane"))
        others = control_plane.create_namespace(f"{namespace}-others")
        async with open_kubernetes(control_plane, [namespace, others]) as kubernetes:
            yield kubernetes
