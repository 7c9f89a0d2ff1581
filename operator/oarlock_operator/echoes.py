"""Whether what was written comes back through a watch: a watch that brings nothing looks like a cluster where nothing happens.

No I/O, no clock.
"""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Echo:
    """One object that is touched again and again, and must be heard of again and again."""

    _missing_since: float | None = None

    def call(self, *, now: float) -> None:
        """Note that the object was touched, and the server has said so."""
        if self._missing_since is None:
            self._missing_since = now

    def hear(self) -> None:
        """Note that the watch has brought the object."""
        self._missing_since = None

    def forget(self) -> None:
        """Note that the server cannot be reached: then a missing echo says nothing about the watch."""
        self._missing_since = None

    def missing_for(self, *, now: float) -> float:
        """Return for how many seconds nothing was heard though the object was touched."""
        return 0.0 if self._missing_since is None else now - self._missing_since


@dataclass(slots=True)
class Unheard:
    """Objects of one kind that were written or read otherwise, and that a silent watch has not brought so yet."""

    _since: dict[str, float] = field(default_factory=dict)

    def update(self, uids: set[str], *, now: float) -> None:
        """Note which objects are unheard of now."""
        self._since = {uid: self._since.get(uid, now) for uid in uids}

    def longest(self, *, now: float) -> float:
        """Return for how many seconds the oldest of them is unheard."""
        return now - min(self._since.values(), default=now)
