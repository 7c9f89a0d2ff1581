"""Ctrl-C, a closed terminal and other requests to stop: the first one suspends, the third one kills."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

KILLING = 3
"""Requests after which nothing is waited for any more."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequests:
    """Counts how often somebody asked to stop."""

    def __init__(self) -> None:
        self.count = 0

    @contextmanager
    def listen(self) -> Iterator[None]:
        """Count signals for as long as the block lasts, instead of dying of them."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self.request)
        loop.add_signal_handler(signal.SIGHUP, self._lose_terminal)
        try:
            yield
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    def _lose_terminal(self) -> None:
        """Stop because the terminal was closed: what is still said goes nowhere, instead of failing."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(nowhere, stream)
        os.close(nowhere)
        self.request()

    def request(self) -> None:
        self.count += 1
