"""Tells errors of a disk from mistakes: a full disk is for the user to mend, and nothing here can go on until then."""

import errno

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_BROKEN = frozenset({errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.ESTALE})


def is_full(error: OSError) -> bool:
    """Say whether there is no room left on a disk, or in the user's share of it."""
    return error.errno in _FULL


def is_of_disk(error: OSError) -> bool:
    """Say whether a folder that could be written before cannot be written any more."""
    return is_full(error) or error.errno in _BROKEN
