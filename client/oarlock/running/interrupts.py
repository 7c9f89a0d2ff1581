"""Ctrl-C and other requests to stop: the first one suspends, the third one kills."""

import asyncio
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
        try:
            yield
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    def request(self) -> None:
        self.count += 1
