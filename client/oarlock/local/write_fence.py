"""Keeps a pod's processes from writing anywhere but in their volumes, as a read-only root file system does in a container.

Landlock, which needs no privileges, holds it for the process that asks and for all that it starts. Standard library only: the
keeper imports it, which runs without installed packages.
"""

import ctypes
import os
from collections.abc import Sequence

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_PR_SET_NO_NEW_PRIVS = 38
_VERSION_FLAG, _PATH_BENEATH = 1, 1

_WRITE_FILE, _TRUNCATE = 1 << 1, 1 << 14
_CHANGE_FOLDERS = sum(1 << bit for bit in range(4, 14))
"""Remove and make entries of every kind, and move them between folders."""
_OLDEST_USABLE = 2
"""Landlock's first version forbids every move between folders."""
_KNOWS_TRUNCATE = 3


class _Ruleset(ctypes.Structure):
    _fields_ = (("handled_access_fs", ctypes.c_uint64),)


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


_libc = ctypes.CDLL(None, use_errno=True)


def fence_in(writable: Sequence[str]) -> bool:
    """Let this process, and what it becomes and starts, write nothing outside the folders and files given.

    Returns:
        Whether the kernel can do that; if not, nothing has changed.

    Raises:
        OSError: if it can and refuses.
    """
    version = _libc.syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG)
    if version < _OLDEST_USABLE:
        return False
    rights = _WRITE_FILE | _CHANGE_FOLDERS | (_TRUNCATE if version >= _KNOWS_TRUNCATE else 0)
    ruleset = _call(_CREATE_RULESET, ctypes.byref(_Ruleset(rights)), ctypes.sizeof(_Ruleset), 0)
    try:
        for path in writable:
            _allow(ruleset, path, rights)
        if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_NO_NEW_PRIVS) failed")
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return True


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        allowed = rights if os.path.isdir(path) else rights & (_WRITE_FILE | _TRUNCATE)  # noqa: PTH112  # on the hot path
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(_PathBeneath(allowed, parent)), 0)
    finally:
        os.close(parent)


def _call(number: int, *arguments: object) -> int:
    result = int(_libc.syscall(number, *arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"Landlock (system call {number}) failed: {os.strerror(ctypes.get_errno())}")
    return result
