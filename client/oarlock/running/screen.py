"""What a run needs of whatever shows it to people."""

from typing import Any, Protocol

Object = dict[str, Any]


class Screen(Protocol):
    """Shows a run: live on a terminal, as plain lines, or not at all."""

    def note(self, text: str) -> None:
        """Say something once."""
        ...

    def show(self, item: Object) -> None:
        """Show an object as it is now; called several times a second."""
        ...

    def settle(self) -> None:
        """Leave what was shown last as it is, and make room for what comes next."""
        ...
