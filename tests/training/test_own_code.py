"""Which files are the user's own code, whose change a resumed run tells."""

import hashlib
import sysconfig
from collections.abc import Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from oarlock_trainer.own_code import digest_code


def load(root: Path, *names: str) -> dict[str, ModuleType]:
    """Return modules as they are after an import, each with a file; a name that ends with a dot is a package's."""
    modules = {}
    for name in names:
        parts = name.split(".")
        path = root.joinpath(*parts[:-1], f"{parts[-1] or '__init__'}.py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n")
        module = modules[name.rstrip(".")] = ModuleType(name.rstrip("."))
        module.__file__, module.__spec__ = str(path), ModuleSpec(module.__name__, None)
    return modules


def names(digests: Mapping[str, str]) -> list[str]:
    return list(digests)


def test_all_files_of_the_config_map_count_and_their_digests_are_of_their_content(tmp_path: Path) -> None:
    (tmp_path / "..2026_11").mkdir()
    (tmp_path / "..2026_11/nets.py").write_text("x = 1\n")
    (tmp_path / "..data").symlink_to("..2026_11")
    (tmp_path / "nets.py").symlink_to("..data/nets.py")
    (tmp_path / "sizes.json").write_text("{}")
    (tmp_path / "__pycache__").mkdir()

    found = digest_code("nets", folder=tmp_path, loaded={})

    assert found == {
        "nets.py": hashlib.sha256(b"x = 1\n").hexdigest(),
        "sizes.json": hashlib.sha256(b"{}").hexdigest(),
    }


def test_what_a_module_of_the_image_imports_beside_it_counts(tmp_path: Path) -> None:
    loaded = load(tmp_path, "team.", "team.nets.", "team.nets.wide", "layers")
    loaded |= load(tmp_path / "venv/lib/site-packages", "torch.") | load(tmp_path / ".cache", "made")
    loaded |= load(tmp_path.with_name("elsewhere"), "numbers")

    found = digest_code("team.nets.wide", folder=None, loaded=loaded)

    assert sorted(found) == ["layers.py", "team/__init__.py", "team/nets/__init__.py", "team/nets/wide.py"]


def test_of_an_installed_package_its_own_modules_count_alone(tmp_path: Path) -> None:
    loaded = load(tmp_path / "site-packages", "team.", "team.nets", "torch.", "torch.nn", "oarlock_trainer.")

    assert names(digest_code("team.nets", folder=None, loaded=loaded)) == ["team/__init__.py", "team/nets.py"]


def test_program_is_told_with_what_it_imports_but_never_pythons_own_files_or_ours(tmp_path: Path) -> None:
    loaded = load(tmp_path, "train", "layers", "oarlock_trainer.")
    loaded["__main__"] = loaded.pop("train")
    loaded["__main__"].__spec__ = None
    library = ModuleType("json")
    library.__file__ = f"{sysconfig.get_path('stdlib')}/json/__init__.py"

    assert names(digest_code("__main__", folder=None, loaded={**loaded, "json": library})) == ["layers.py", "train.py"]


def test_program_that_was_started_as_a_module_has_its_whole_package(tmp_path: Path) -> None:
    loaded = load(tmp_path, "team.train", "team.nets")
    loaded["__main__"] = loaded.pop("team.train")

    assert names(digest_code("__main__", folder=None, loaded=loaded)) == ["team/nets.py", "team/train.py"]


def test_nothing_is_told_of_a_module_without_a_file() -> None:
    assert digest_code("__main__", folder=Path("/nowhere"), loaded={"__main__": ModuleType("__main__")}) == {}
    assert digest_code("absent", folder=None, loaded={}) == {}
