"""The Oarlock API: models of `Dataset` and `TrainingJob`, and the contract between the operator and its pods.

No I/O, no kopf, no torch. This file stays empty of imports, so that the agent can read the contract without pydantic.
"""
