"""Imports of large packages without the garbage collector, which would look a dozen times through what only grows.

torch makes half a million objects when it is imported, and nearly all of them stay: without collections that takes a sixth less
time. Imported, this module offers `without_collections`. Run as a script (`quick_imports.py MODULE ARGUMENTS...`) it is `python -m
MODULE ARGUMENTS...` for a module with a function `main`: the agent starts torchrun that way. Standard library only; must not
import anything of Oarlock, since the image of a script has no more of Oarlock than the agent's own files.
"""

import gc
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collections() -> Iterator[None]:
    """Collect nothing inside, and do not look again afterwards at what was made inside."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def main() -> None:
    del sys.argv[0]
    with without_collections():
        module = importlib.import_module(sys.argv[0])
    module.main()


if __name__ == "__main__":
    main()
