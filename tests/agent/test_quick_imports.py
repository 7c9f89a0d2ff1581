"""How torchrun is started: as by `python -m`, only without a garbage collector while it is imported."""

import json
import subprocess
import sys
from pathlib import Path

from oarlock_trainer import quick_imports

_MODULE = """
import gc, json, sys

while_imported = gc.isenabled()

def main():
    print(json.dumps([sys.argv, while_imported, gc.isenabled(), gc.get_freeze_count() > 0]))
"""


def test_module_gets_its_arguments_and_the_collector_when_it_is_imported(tmp_path: Path) -> None:
    (tmp_path / "launcher.py").write_text(_MODULE)
    command = [sys.executable, quick_imports.__file__, "launcher", "--nodes=2", "-m", "x"]
    ended = subprocess.run(command, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True)

    assert json.loads(ended.stdout) == [["launcher", "--nodes=2", "-m", "x"], False, True, True]


def test_collector_is_back_when_the_import_fails() -> None:
    program = (
        "import gc\nfrom oarlock_trainer.quick_imports import without_collections\n"
        "try:\n    with without_collections():\n        import nowhere\n"
        "except ImportError:\n    print(gc.isenabled())"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert ended.stdout == "True\n"
