"""The only I/O of the operator: a small port, and the Kubernetes API server behind it."""
