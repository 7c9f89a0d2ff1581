"""What processes cost, from /proc, and who asked the API server for what, from its audit log."""

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")

AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


def read_cpu_seconds(pid: int) -> float:
    """Seconds of processor time of a process, of both kinds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def read_memory(pid: int) -> tuple[float, float]:
    """Resident megabytes of a process, now and at most so far."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    now, most = (int(lines[name].split()[0]) / 1000 for name in ("VmRSS", "VmHWM"))
    return now, most


def reset_peak_memory(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


@dataclass
class Meter:
    """Processor time of several processes since the last look."""

    pids: Mapping[str, int]

    def __post_init__(self) -> None:
        self._since = self._read()

    def take(self) -> dict[str, float]:
        """Return the seconds of each since the last time."""
        now = self._read()
        spent = {name: now[name] - self._since[name] for name in now}
        self._since = now
        return spent

    def _read(self) -> dict[str, float]:
        return {name: read_cpu_seconds(pid) for name, pid in self.pids.items()}


class AuditLog:
    """Requests by client, verb and resource, since the last look."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0

    def take(self) -> dict[str, Counter[str]]:
        """Return how often each client asked for what; watches and leases, which no job causes, are left out."""
        found: dict[str, Counter[str]] = {}
        with self._path.open() as log:
            log.seek(self._offset)
            text = log.read()
            whole = text.rfind("\n") + 1
            self._offset += len(text[:whole].encode())
        for line in text[:whole].splitlines():
            entry = json.loads(line)
            asked = entry.get("objectRef") or {}
            resource = "/".join(filter(None, (asked.get("resource"), asked.get("subresource"))))
            if entry["verb"] != "watch" and resource not in {"", "leases", "nodes/status"}:
                client = _name_client(entry.get("userAgent", ""))
                found.setdefault(client, Counter())[f"{entry['verb']} {resource}"] += 1
        return found


def _name_client(user_agent: str) -> str:
    program, _, rest = user_agent.partition("/")
    return rest.rpartition("/")[2] if program == "kube-controller-manager" else program
