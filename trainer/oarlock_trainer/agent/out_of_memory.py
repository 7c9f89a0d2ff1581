"""Evidence that the kernel's OOM killer was at work in this pod: the counters of its memory cgroup."""

import re
from pathlib import Path

CGROUP_FILES = (Path("/sys/fs/cgroup/memory.events"), Path("/sys/fs/cgroup/memory/memory.oom_control"))
"""Of cgroup v2 and v1, as a container sees them."""

_OOM_KILL = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


def count_oom_kills(files: tuple[Path, ...] = CGROUP_FILES) -> int:
    """Return how many processes of this pod the OOM killer has killed so far; 0 where the kernel does not say."""
    for file in files:
        try:
            found = _OOM_KILL.search(file.read_text())
        except OSError:
            continue
        if found:
            return int(found.group(1))
    return 0
