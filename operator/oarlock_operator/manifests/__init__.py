"""Pod, Service and claim manifests: pure functions from the frozen run to dictionaries."""
