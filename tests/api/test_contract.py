"""The contract: records survive the wire, and the termination record fits where the kubelet keeps it."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from oarlock_api import contract
from oarlock_api.contract import Failure, Outcome, TerminationRecord, WorkerStatus
from oarlock_api.termination_record import fit_termination_record

LONG_TEXT = st.text(max_size=6000)


def record(**changes: Any) -> TerminationRecord:
    return TerminationRecord(
        **{"job_uid": "u", "run_hash": "h", "attempt": 1, "node": 0, "outcome": Outcome.FAILED, **changes}
    )


@given(message=LONG_TEXT, detail=LONG_TEXT, remedy=LONG_TEXT, warnings=st.lists(LONG_TEXT, max_size=5))
def test_a_termination_record_fits_whatever_is_in_it(
    message: str, detail: str, remedy: str, warnings: list[str]
) -> None:
    failure = Failure(cause=contract.Cause.USER_ERROR, message=message, detail=detail, remedy=remedy)

    text = fit_termination_record(record(failure=failure.to_wire(), warnings=warnings))

    assert len(text.encode()) <= contract.MAX_TERMINATION_BYTES
    assert json.loads(text)["outcome"] == "Failed"


def test_the_failure_survives_when_a_record_is_shortened() -> None:
    failure = Failure(cause=contract.Cause.NON_FINITE, message="loss is NaN", detail="x" * 9000, rank=3)

    wire = json.loads(fit_termination_record(record(failure=failure.to_wire())))

    assert (wire["failure"]["cause"], wire["failure"]["rank"]) == ("NonFinite", 3)


def test_unknown_fields_are_ignored_when_a_newer_writer_is_read() -> None:
    status = WorkerStatus(job_uid="u", run_hash="h", attempt=0, node=0, phase="Training", phase_since=1.0)

    assert WorkerStatus.from_wire({**status.to_wire(), "moonPhase": "full"}) == status


def test_every_cause_has_an_exit_code_of_its_own() -> None:
    assert set(contract.EXIT_CODES) == set(contract.Cause)
    assert len(set(contract.EXIT_CODES.values())) == len(contract.Cause)
