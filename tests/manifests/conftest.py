"""`pytest tests/manifests --update-golden` rewrites the golden manifests under tests/golden/ instead of comparing with them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

GOLDEN = Path(__file__).parent.parent / "golden"

CompareGolden = Callable[[str, list[dict[str, Any]]], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/golden/ from what is built now")


class _Dumper(yaml.SafeDumper):
    """Writes no anchors, and lists as people indent them."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # the base class decides by the data
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        super().increase_indent(flow, indentless=False)


@pytest.fixture
def compare_golden(request: pytest.FixtureRequest) -> CompareGolden:
    """Compare manifests with tests/golden/<case>/<kind>-<name>.yaml, file by file."""

    def compare(case: str, manifests: list[dict[str, Any]]) -> None:
        folder = GOLDEN / case
        texts = {_file_name(manifest): _to_yaml(manifest) for manifest in manifests}
        if request.config.getoption("--update-golden", default=False):
            _rewrite(folder, texts)
        assert {path.name: path.read_text() for path in folder.glob("*.yaml")} == texts

    return compare


def _file_name(manifest: dict[str, Any]) -> str:
    return f"{manifest['kind'].lower()}-{manifest['metadata']['name']}.yaml"


def _to_yaml(manifest: dict[str, Any]) -> str:
    return yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


def _rewrite(folder: Path, texts: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.yaml"):
        path.unlink()
    for name, text in texts.items():
        (folder / name).write_text(text)
