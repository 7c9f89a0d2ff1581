"""A cluster on one machine: objects on disk, pods as processes, volumes as folders; the operator's planning runs on it unchanged."""
