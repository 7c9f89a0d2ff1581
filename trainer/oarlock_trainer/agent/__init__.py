"""Process 1 of every pod: runs torchrun or an import as its child, and alone speaks for it to the outside.

Standard library only, because it is copied into any image: no torch, no numpy, no pydantic. The agent never trains, never
reads data or checkpoints, and never talks to a Kubernetes API server.
"""
