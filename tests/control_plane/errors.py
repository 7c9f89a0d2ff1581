"""The one error that the test control plane raises, so that a fixture can tell a broken harness from a failing test."""


class ControlPlaneError(Exception):
    """The control plane cannot be built, started or used; the message says what to do."""
