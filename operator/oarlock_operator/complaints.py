"""What Events complain of: of each pod and claim the latest that tells something. No I/O, no clock.

An Event may be seen before what it is about, after a restart of the operator as a rule: a few such are kept.
"""

import re
from collections import OrderedDict

from oarlock_operator.observing import ObjectWarning

_MOST_EARLY = 2000
_REPEATED = "FailedScheduling"
"""The pod's own condition says the same, and is taken back when it is over."""
_VAGUE = re.compile(
    r"^(Failed: Error: (ErrImagePull|ImagePullBackOff)|BackOff:|FailedToRetrieveImagePullSecret"
    r"|FailedMount: Unable to attach or mount volumes)"
)
"""What kubelets say between two tries: it must not hide what they have said of the last one."""


class Complaints:
    """Warnings by the UID of what they are about."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self._early: OrderedDict[str, str] = OrderedDict()

    def note(self, warning: ObjectWarning, *, is_known: bool) -> bool:
        """Keep a warning if it tells something new; return whether it does.

        Args:
            warning: what an Event says.
            is_known: whether the object is known that it is about.
        """
        if not warning.uid or warning.message.startswith(_REPEATED):
            return False
        kept = self._known if is_known else self._early
        before = kept.get(warning.uid, "")
        if before == warning.message or (before and _VAGUE.match(warning.message)):
            return False
        kept[warning.uid] = warning.message
        if len(self._early) > _MOST_EARLY:
            self._early.popitem(last=False)
        return is_known

    def welcome(self, uid: str) -> None:
        """Note that an object is known from now on."""
        if message := self._early.pop(uid, ""):
            self._known.setdefault(uid, message)

    def of(self, uid: str) -> str:
        """Return what is known against an object; empty if nothing is."""
        return self._known.get(uid, "")

    def forget(self, uid: str) -> None:
        self._known.pop(uid, None)
