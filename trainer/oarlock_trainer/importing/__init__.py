"""The importer: turns a source into a data set on disk, once, for every job that trains on it.

`python -m oarlock_trainer.importing` is started by the agent of an import pod. It finds the source, lists its samples, divides
them into splits, decodes them on all cores into shards, and moves the finished version into place in one step. No torch.
"""
