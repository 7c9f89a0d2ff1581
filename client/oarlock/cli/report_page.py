"""`oarlock report`: the report of a run as one HTML file.

The trainer's own code writes it, in a process of its own: the command needs neither torch nor the trainer to be imported.
"""

import importlib.util
import subprocess
import sys
import webbrowser
from pathlib import Path

from oarlock.running.outcomes import EXIT_FAILED, EXIT_SUCCESS

_MODULE = "oarlock_trainer.reports"
_NEEDED = ("jinja2",)
_LOG_NAME = "log.jsonl"


def write_report(folder: Path, *, title: str, output: Path | None, opens: bool) -> int:
    """Write the report of the run in `folder`, show it if asked to, and return the exit code."""
    problem = _find_problem(folder)
    if problem:
        sys.stderr.write(f"{problem}\n")
        return EXIT_FAILED
    command = [sys.executable, "-m", _MODULE, str(folder), "--title", title]
    ended = subprocess.run(
        [*command, *(["--output", str(output)] if output else [])], stdout=subprocess.PIPE, text=True, check=False
    )
    if ended.returncode:
        return EXIT_FAILED
    page = Path(ended.stdout.strip())
    sys.stdout.write(f"{page}\n")
    if opens and not webbrowser.open(page.resolve().as_uri()):
        sys.stderr.write("there is no browser here: open the file elsewhere\n")
    return EXIT_SUCCESS


def _find_problem(folder: Path) -> str:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        return f"a report needs {', '.join(missing)}: pip install 'oarlock[trainer]'"
    if (folder / _LOG_NAME).exists():
        return ""
    if (folder / "logs").is_dir():
        return f"{folder} holds no {_LOG_NAME}: no figures were reported, so there is nothing to draw. What was printed is in {folder / 'logs'}"
    return f"{folder} holds no {_LOG_NAME}: nothing was trained there yet"
