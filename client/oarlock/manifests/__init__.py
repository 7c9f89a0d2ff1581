"""Manifests as people write them: YAML with line numbers, everything wrong said at once, nothing applied before all is right."""
