"""The tree itself: its shape, its sizes, and that nothing of one machine is in it."""

import ast
import graphlib
import statistics
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import grimp
import pytest

ROOT = Path(__file__).parents[1]
SOURCE_ROOTS = ("crds", "operator", "trainer", "client")
PACKAGES = ("oarlock_api", "oarlock_operator", "oarlock_trainer", "oarlock")
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_MEDIAN_FUNCTION_LINES = 10


def tracked_files(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


SOURCES = [path for path in tracked_files("*.py") if path.relative_to(ROOT).parts[0] in SOURCE_ROOTS]


def find_left_out(paths: list[str], build: dict[str, Any]) -> list[str]:
    """Return which of the files hatchling leaves out of the wheel: those beside the packages, and those that git ignores.

    Ignored ones are left out even where git knows them. Settings that say more than the packages are not read here.
    """
    assert {name: set(value) for name, value in build.items()} == {"targets": {"wheel"}}
    assert set(build["targets"]["wheel"]) == {"packages"}, "say here what else decides what the wheel holds"
    packages = build["targets"]["wheel"]["packages"]
    ignored = subprocess.run(
        ["git", "check-ignore", "--no-index", "--stdin"],
        cwd=ROOT,
        input="\n".join(paths),
        capture_output=True,
        text=True,
        check=False,
    )
    outside = [path for path in paths if not any(path.startswith(f"{package}/") for package in packages)]
    return sorted({*outside, *ignored.stdout.splitlines()})


def function_lengths(path: Path) -> list[tuple[int, str]]:
    """Lines of each function without its docstring."""
    lengths = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            lengths.append(((node.end_lineno or 0) - first.lineno + 2, f"{path.relative_to(ROOT)}:{node.name}"))
    return lengths


@pytest.mark.parametrize("folder", SOURCE_ROOTS)
def test_a_source_root_never_becomes_a_package(folder: str) -> None:
    """A package called `operator` would hide a module of the standard library."""
    assert not (ROOT / folder / "__init__.py").exists()


def test_no_test_folder_is_a_package_or_called_operator() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))
    assert not list((ROOT / "tests").rglob("operator"))


def test_no_file_is_longer_than_a_reader_holds() -> None:
    long = {str(path.relative_to(ROOT)): n for path in SOURCES if (n := path.read_text().count("\n")) > MAX_FILE_LINES}

    assert long == {}


def test_functions_are_short() -> None:
    lengths = [length for path in SOURCES for length in function_lengths(path)]

    assert statistics.median(length for length, _ in lengths) <= MAX_MEDIAN_FUNCTION_LINES
    assert [where for length, where in lengths if length > MAX_FUNCTION_LINES] == []


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True)
    # A package's own file re-exports what its modules define; those modules naming their package is no circle.
    dependencies = {
        module: {
            imported
            for imported in graph.find_modules_directly_imported_by(module)
            if not module.startswith(imported + ".")
        }
        for module in graph.modules
    }

    try:
        graphlib.TopologicalSorter(dependencies).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"circular import: {' -> '.join(error.args[1])}")


def test_every_module_says_why_it_exists() -> None:
    assert [str(path) for path in SOURCES if not ast.get_docstring(ast.parse(path.read_text()))] == []


def test_no_name_says_nothing() -> None:
    meaningless = {"utils", "util", "helpers", "common", "base", "manager", "misc"}

    assert [str(path) for path in SOURCES if path.stem in meaningless] == []


def test_no_path_of_one_machine_is_in_the_tree() -> None:
    paths = tuple("/" + name + "/" for name in ("work", "root", "farm"))
    texts = [path for path in tracked_files() if path.suffix not in {".gz", ".png"} and path != Path(__file__)]

    assert [str(path) for path in texts if any(p in path.read_text(errors="ignore") for p in paths)] == []


def test_the_wheel_holds_every_module_and_what_is_read_beside_them() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    kept = tracked_files(*(package for package in build["targets"]["wheel"]["packages"]))
    paths = {str(path.relative_to(ROOT)) for path in kept}

    assert {str(path.relative_to(ROOT)) for path in SOURCES} <= paths
    assert {path for path in paths if not path.endswith(".py")} == {
        *(f"trainer/oarlock_trainer/reports/page.{ending}" for ending in ("css", "js", "html.jinja")),
        *("crds/oarlock_api/py.typed", "operator/oarlock_operator/py.typed"),
        *("trainer/oarlock_trainer/py.typed", "client/oarlock/py.typed"),
    }
    assert find_left_out(sorted(paths), build) == []


def test_files_that_the_wheel_would_lack_are_found() -> None:
    build = {"targets": {"wheel": {"packages": ["client/oarlock"]}}}
    paths = ["client/oarlock/py.typed", "client/oarlock/build/page.css", "trainer/oarlock_trainer/py.typed"]

    assert find_left_out(paths, build) == ["client/oarlock/build/page.css", "trainer/oarlock_trainer/py.typed"]
    with pytest.raises(AssertionError, match="say here"):
        find_left_out(paths, {"targets": {"wheel": {"packages": [], "exclude": ["*.css"]}}})
