"""What the harness says while it works: on a terminal a live line, elsewhere a line now and then. Always on standard error,
so that the output of a command stays its own."""

import sys
import time
from collections.abc import Callable

Say = Callable[[str], None]


def say(message: str) -> None:
    sys.stderr.write(f"control plane: {message}\n")
    sys.stderr.flush()
