"""What was seen of one kind of object, and how sure it is.

A mirror hears of an object from two sides: from a watch, in order but late, and from answers to the operator's own requests,
at once. Resource versions are opaque, so it never compares two of them; it remembers which versions its own answers have
overtaken, and what the watch brings besides those, before it has caught up, is a doubt, to be settled by a live read. So the
mirror never goes back behind the operator's own write. Nor does it behind the watch: an answer may be handled after the watch
has brought what happened since the server gave it, so that whoever asks notes `heard` first, and the answer counts as newer
only if there was no news of the object since. No I/O, no clock.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

_log = logging.getLogger(__name__)

Object = dict[str, Any]
T = TypeVar("T")

_MOST_REMEMBERED = 256
_PASSED = 4
_MOST_GONE = 4096
"""News that are remembered of objects that are gone: none is older than the longest request."""


class Name(NamedTuple):
    """Where an object is; the namespace of a cluster's object is empty."""

    namespace: str
    name: str


@dataclass(slots=True)
class _Slot(Generic[T]):
    value: T
    uid: str
    version: str
    caught_up: bool
    """Whether the watch has brought this version."""
    overtaken: set[str] = field(default_factory=set)
    """Versions that the watch may still bring, and that are older."""
    doubtful: set[str] = field(default_factory=set)
    """Versions that the watch has brought, of which it is unknown whether they are older."""
    passed: tuple[str, ...] = ()
    """The latest versions that the watch has brought and followed by others."""

    def catch_up(self) -> None:
        self.caught_up = True
        self.overtaken.clear()
        self.doubtful.clear()


class Mirror(Generic[T]):
    """The objects of one kind.

    `changed(name, old, new)` is called after every change, None meaning absent, and with equal values when a doubt arises.
    """

    def __init__(
        self, convert: Callable[[Object], T], changed: Callable[[Name, T | None, T | None], None] | None = None
    ) -> None:
        self._convert = convert
        self._changed = changed or (lambda _name, _old, _new: None)
        self._slots: dict[Name, _Slot[T]] = {}
        self._listed = False
        self.heard = 0
        """Times that there was news, of whatever object, from a watch or in an answer."""
        self._heard_of: dict[Name, int] = {}
        self.doubts: set[Name] = set()
        """Names whose live object must be read, and given to `adopt` or `forget`, before anything is decided by them."""

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, name: object) -> bool:
        return name in self._slots

    @property
    def is_listed(self) -> bool:
        """Whether all objects were seen at least once."""
        return self._listed

    def get(self, name: Name) -> T | None:
        slot = self._slots.get(name)
        return slot.value if slot else None

    def __iter__(self) -> Iterator[Name]:
        return iter(self._slots)

    def values(self) -> Iterator[T]:
        return (slot.value for slot in self._slots.values())

    def unheard(self) -> Iterator[str]:
        """Yield UIDs of the objects that are known otherwise, and that the watch has not brought so yet."""
        return (slot.uid for slot in self._slots.values() if not slot.caught_up)

    def offer(self, raw: Object) -> None:
        """Take an object that a watch brings."""
        name, uid, version = _identify(raw)
        slot = self._slots.get(name)
        if slot and (slot.uid, slot.version) == (uid, version):
            slot.catch_up()
        elif slot is None or slot.caught_up:
            self._hear(name)
            self._put_readable(name, raw, caught_up=True)
        elif slot.uid != uid or version not in slot.overtaken:
            self._hear(name)
            slot.doubtful.add(version)
            self._doubt(name)

    def offer_deletion(self, raw: Object) -> None:
        """Take the deletion of an object that a watch brings; of one that is replaced already it says nothing."""
        name, uid, _ = _identify(raw)
        slot = self._slots.get(name)
        if slot and slot.uid == uid:
            self._hear(name)
            self._drop(name)

    def offer_all(self, listed: Iterable[Object]) -> None:
        """Take all objects there are, with which a watch begins anew; the others are gone."""
        seen = set()
        for raw in listed:
            seen.add(_identify(raw)[0])
            self.offer(raw)
        for name in [name for name in self._slots if name not in seen]:
            self._hear(name)
            if self._slots[name].caught_up:
                self._drop(name)
            else:
                self._doubt(name)
        self._listed = True

    def introduce(self, listed: Iterable[Object], *, asked: int = 0) -> None:
        """Take all objects there are, from a list that was read beside a watch which has brought some of them already."""
        for raw in listed:
            name, uid, version = _identify(raw)
            slot = self._slots.get(name)
            if slot is None and not self.has_heard(name, since=asked):
                self._put_readable(name, raw, caught_up=False)
            elif slot is not None and (slot.uid, slot.version) != (uid, version):
                self._doubt(name)
        self._listed = True

    def compare(self, listed: Iterable[Object]) -> int:
        """Compare with a list that was read beside the watch: differences are doubts. Return their number."""
        versions = {name: (uid, version) for name, uid, version in map(_identify, listed)}
        known = {name: (slot.uid, slot.version) for name, slot in self._slots.items()}
        different = {name for name in versions.keys() | known.keys() if versions.get(name) != known.get(name)}
        self.doubts |= different
        return len(different)

    def has_heard(self, name: Name, *, since: int) -> bool:
        """Say whether there was news of an object since `heard` was so much."""
        return self._heard_of.get(name, 0) > since

    def adopt(self, raw: Object, *, asked: int | None = None) -> None:
        """Take the answer to a request of our own.

        Args:
            raw: the object.
            asked: `heard` when the request was sent; None: it was answered in the same instant.
        """
        name, uid, version = _identify(raw)
        slot = self._slots.get(name)
        if asked is not None and self.has_heard(name, since=asked):
            self._weigh(name, slot, uid, version)
            return
        self.doubts.discard(name)
        if slot is None or slot.uid != uid:
            self._put(name, _Slot(self._convert(raw), uid, version, caught_up=False))
        elif slot.version != version:
            self._put(name, _overtake(slot, self._convert(raw), version))
        else:
            slot.overtaken |= slot.doubtful
            slot.doubtful.clear()
            return
        self._hear(name)

    def forget(self, name: Name, *, asked: int | None = None) -> None:
        """Note that a live read did not find an object; `asked` as for `adopt`."""
        if asked is not None and self.has_heard(name, since=asked):
            if name in self._slots:
                self._doubt(name)
            return
        self.doubts.discard(name)
        if name in self._slots:
            self._hear(name)
            self._drop(name)

    def _weigh(self, name: Name, slot: _Slot[T] | None, uid: str, version: str) -> None:
        """Doubt what is known if an answer that other news overlapped may be newer; what is gone the watch brings again if it is not."""
        is_known = slot is not None and slot.uid == uid and version in {slot.version, *slot.passed, *slot.overtaken}
        if slot is not None and not is_known:
            self._doubt(name)

    def _hear(self, name: Name) -> None:
        self.heard += 1
        self._heard_of[name] = self.heard
        if len(self._heard_of) > len(self._slots) + 2 * _MOST_GONE:
            oldest = self.heard - _MOST_GONE
            self._heard_of = {
                each: heard for each, heard in self._heard_of.items() if each in self._slots or heard > oldest
            }

    def amend(self, name: Name, uid: str, change: Callable[[T], T]) -> None:
        """Change what is known of an object by what a request of our own is bound to bring about."""
        slot = self._slots.get(name)
        if slot and slot.uid == uid:
            slot.value = change(slot.value)

    def _put_readable(self, name: Name, raw: Object, *, caught_up: bool) -> None:
        """Put what others wrote: one object that is not understood must not hide all others."""
        _, uid, version = _identify(raw)
        try:
            value = self._convert(raw)
        except Exception:  # noqa: BLE001  # whatever is wrong with it
            _log.exception("%s %s/%s is passed over: it is not understood", raw.get("kind"), *name)
            return
        before = self._slots.get(name)
        passed = (*before.passed, before.version)[-_PASSED:] if before and before.uid == uid else ()
        self._put(name, _Slot(value, uid, version, caught_up=caught_up, passed=passed))

    def _doubt(self, name: Name) -> None:
        self.doubts.add(name)
        self._changed(name, self.get(name), self.get(name))

    def _put(self, name: Name, slot: _Slot[T]) -> None:
        old = self.get(name)
        self._slots[name] = slot
        self._changed(name, old, slot.value)

    def _drop(self, name: Name) -> None:
        old = self._slots.pop(name).value
        self._changed(name, old, None)


def _overtake(slot: _Slot[T], value: T, version: str) -> _Slot[T]:
    # What the watch has brought already it will not bring again: then it has caught up with this very answer.
    if version in slot.doubtful:
        return _Slot(value, slot.uid, version, caught_up=True, passed=slot.passed)
    overtaken = slot.overtaken | slot.doubtful | {slot.version}
    if len(overtaken) > _MOST_REMEMBERED:
        overtaken = {slot.version}  # what is forgotten here becomes a doubt when it comes, and is settled by a read
    return _Slot(value, slot.uid, version, caught_up=False, overtaken=overtaken, passed=slot.passed)


def _identify(raw: Object) -> tuple[Name, str, str]:
    metadata = raw["metadata"]
    name = Name(metadata.get("namespace", ""), metadata["name"])
    return name, metadata.get("uid", ""), metadata.get("resourceVersion", "")
