"""Writes docs/faults.md from the table: `PYTHONPATH=tests python -m faults.page`."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from faults.cluster_faults import CLUSTER_FAULTS
from faults.fault import Fault
from faults.gang_faults import GANG_FAULTS
from faults.trainer_faults import TRAINER_FAULTS

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
FAULTS = (*CLUSTER_FAULTS, *GANG_FAULTS, *TRAINER_FAULTS)

_HEAD = """# Faults, and what the status says of them

Whatever goes wrong, `kubectl get tj` shows a reason, and `status.message` names the culprit and the remedy.
`oarlock doctor JOB` shows the same with the evidence.

Each row of this page is injected by a test: on a real API server what happens to the cluster's objects, into real agents and
processes, from whose words the planner makes the status, what happens inside pods and between them (tests/faults/).
The status must say what stands here within 30 seconds; where the cluster or the job has a clock of its own (a grace period, a deadline), the row names it.
In messages, `<…>` stands for a name, a figure, or what another program says.
The page is made from the table that the tests use (`tests/faults/`): edit that.
"""


def build_page(faults: Iterable[Fault] = FAULTS) -> str:
    """Return the whole page."""
    return "\n".join([_HEAD, *_describe_all(faults)])


def _describe_all(faults: Iterable[Fault]) -> Iterator[str]:
    for topic, rows in groupby(faults, key=lambda fault: fault.topic):
        yield f"## {topic}\n"
        yield "| fault | injected by | status | message | remedy | what the operator does |"
        yield "|---|---|---|---|---|---|"
        yield from (_describe(row) for row in rows)
        yield ""


def _describe(fault: Fault) -> str:
    clock = f" (after {fault.clock})" if fault.clock else ""
    cells = (
        fault.fault,
        f"{fault.injected}. `tests/{fault.test}`",
        f"{fault.phase}, `{fault.reason}`{clock}",
        f"`{fault.message}`",
        f"`{fault.remedy}`",
        fault.answer.value,
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    PAGE.write_text(build_page())
