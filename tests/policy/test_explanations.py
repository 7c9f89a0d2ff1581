"""Whatever a pod fails of, the black box says what to do, also where the pod itself could not."""

import pytest
from reconciling.job_states import NOW, end_pod, make_pod, make_record

from oarlock_api.contract import CAUSES_BY_EXIT_CODE, EXIT_CODES, EXIT_SUCCESS, EXIT_SUSPENDED, Cause, Failure, Outcome
from oarlock_api.v1alpha1.status import TrainingJobStatus
from oarlock_operator.policy.failures import describe_failure
from oarlock_operator.policy.restarts import BUDGETS


@pytest.mark.parametrize("cause", Cause)
def test_cause_and_remedy_are_said_when_only_the_exit_code_is_known(cause: Cause) -> None:
    pod = end_pod(make_pod(status=TrainingJobStatus(attempt=0)), exit_code=EXIT_CODES[cause])
    failure = describe_failure(pod, lost_nodes=frozenset(), now=NOW)

    assert failure.cause == cause
    assert pod.name in failure.message
    assert len(failure.remedy) > 20


@pytest.mark.parametrize("cause", Cause)
def test_word_of_the_pod_is_kept_with_its_place(cause: Cause) -> None:
    said = Failure(cause=cause, message="it broke.", remedy="mend it", rank=1)
    record = make_record(Outcome.FAILED, failure=said.to_wire())
    pod = end_pod(make_pod(status=TrainingJobStatus(attempt=0)), exit_code=EXIT_CODES[cause], record=record)
    failure = describe_failure(pod, lost_nodes=frozenset(), now=NOW)

    assert (failure.cause, failure.remedy, failure.rank) == (cause, "mend it", 1)
    assert failure.message == f"pod {pod.name} on node {pod.node}: it broke"


def test_exit_codes_and_causes_name_one_another() -> None:
    assert set(EXIT_CODES) == set(Cause)
    assert {EXIT_CODES[cause] for cause in Cause} == set(CAUSES_BY_EXIT_CODE)
    assert len(CAUSES_BY_EXIT_CODE) == len(Cause)
    assert not {EXIT_SUCCESS, EXIT_SUSPENDED} & set(CAUSES_BY_EXIT_CODE)
    assert all(code < 126 for code in CAUSES_BY_EXIT_CODE), "shells and kubelets use those above"
    assert set(Cause) <= set(BUDGETS)
