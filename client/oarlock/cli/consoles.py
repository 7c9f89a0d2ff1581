"""Where output goes: results to standard output, problems to standard error."""

import sys

from rich.console import Console

_PLAIN_WIDTH = 120


def make_console(*, stderr: bool = False) -> Console:
    """Return a console; without a terminal its lines are as long as they are."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr) if stream.isatty() else Console(stderr=stderr, width=_PLAIN_WIDTH, soft_wrap=True)
