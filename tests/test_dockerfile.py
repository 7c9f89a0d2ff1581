"""What the images run as: never root, and by number, so that the kubelet can tell."""

import re
from pathlib import Path

import pytest

DOCKERFILE = (Path(__file__).parents[1] / "Dockerfile").read_text()


def find_stages() -> dict[str, list[str]]:
    """Return the instructions of each stage by its name."""
    stages: dict[str, list[str]] = {}
    current = ""
    for line in DOCKERFILE.replace("\\\n", " ").splitlines():
        if started := re.match(r"FROM\s+\S+\s+AS\s+(\S+)", line):
            current = started[1]
        if current:
            stages.setdefault(current, []).append(line)
    return stages


@pytest.mark.parametrize("stage", ["operator", "trainer"])
def test_image_ends_as_a_user_that_is_not_root(stage: str) -> None:
    instructions = find_stages()[stage]
    users = [line.split()[1] for line in instructions if line.startswith("USER ")]
    after = instructions[instructions.index(f"USER {users[-1]}") :]

    assert re.fullmatch(r"[1-9][0-9]*:[1-9][0-9]*", users[-1])
    assert not [line for line in after if line.startswith(("RUN ", "COPY ", "ADD "))]


def test_nothing_is_fetched_past_the_package_manager() -> None:
    assert not re.search(r"\b(curl|wget|ADD\s+http)", DOCKERFILE)
