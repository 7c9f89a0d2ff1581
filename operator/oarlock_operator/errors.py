"""What stops one key, or the operator at its start; errors of the cluster are in `cluster.port`."""

from oarlock_operator.reconcile.plans import Reference


class OperatorError(Exception):
    """Something that the operator cannot settle by itself; the message says who can, and how."""


class UnreadableStatusError(OperatorError):
    """A status that this operator does not understand. It is not overwritten: it may hold counters and a frozen run."""

    def __init__(self, key: Reference, finding: str) -> None:
        super().__init__(
            f"the status of {key.kind} {key.namespace}/{key.name} cannot be read: {finding}; "
            "if something else than the operator wrote it, remove that part of the status; else update the operator"
        )


class PrunedStatusError(OperatorError):
    """The server acknowledged a status, but does not hold all of it."""

    def __init__(self, key: Reference, path: str) -> None:
        super().__init__(
            f"the server dropped {path} from the status of {key.kind} {key.namespace}/{key.name}: "
            "its CustomResourceDefinition is older than the operator; apply the ones of this version and try again"
        )


class PlanError(OperatorError):
    """Planning asks for what it was given already: a defect, and no reason to go on."""


class StartError(OperatorError):
    """The operator cannot work here: permissions or definitions are missing."""
