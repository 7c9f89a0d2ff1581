"""`python -m oarlock_trainer.agent.copying FOLDER`: puts the agent where an image that lacks it can run it.

What is copied is what the agent has loaded, which is Python of the standard library's and of Oarlock's alone. `python3 FOLDER`
runs it. The init container of a pod does this, with the trainer image, before the user's own image starts.
"""

import shutil
import sys
from pathlib import Path

_ROOTS = ("oarlock_api", "oarlock_trainer")
_START = '''"""Starts the agent beside this file: `python3 FOLDER train`."""

import sys

if sys.version_info < (3, 11):
    sys.exit(f"Oarlock needs Python 3.11 or newer in the image of a script, this is {sys.version.split()[0]}")

from oarlock_trainer.agent.__main__ import main

sys.exit(main())
'''


def copy_agent(folder: Path) -> None:
    """Copy the agent into `folder`.

    Raises:
        OSError: if the folder cannot be written.
    """
    from oarlock_trainer.agent import __main__  # noqa: F401  # with all that it loads

    for module in list(sys.modules.values()):
        source = getattr(module, "__file__", None)
        package = module.__name__.split(".")
        if source and package[0] in _ROOTS:
            target = folder.joinpath(*package[:-1], Path(source).name)
            if Path(source).name == "__init__.py":
                target = folder.joinpath(*package, "__init__.py")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    (folder / "__main__.py").write_text(_START)


if __name__ == "__main__":
    copy_agent(Path(sys.argv[1]))
