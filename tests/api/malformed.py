"""Malformed specs, each with the path and a part of what must be said of it: for the validator, and for a real API server."""

from typing import Any

JOB: dict[str, Any] = {"dataset": {"name": "digits"}, "model": {"name": "lenet"}}
DATASET: dict[str, Any] = {"source": {"volume": {"claim": "raw"}}, "layout": {"folders": {}}}


def job(**changes: Any) -> dict[str, Any]:
    return {**JOB, **changes}


def dataset(**changes: Any) -> dict[str, Any]:
    return {**DATASET, **changes}


BAD_JOBS: list[tuple[dict[str, Any], str, str]] = [
    ({}, "spec", "must have exactly one of model, script"),
    ({"model": {"name": "lenet"}}, "spec", "must have a dataset for a model"),
    (job(dataset={}), "spec.dataset.name", "is required"),
    (job(dataset={"name": 7}), "spec.dataset.name", "must be a text, got 7: put it in quotes"),
    (job(dataset={"name": "Digits"}), "spec.dataset.name", "must match"),
    (job(dataset={"name": "a", "versoin": "ab"}), "spec.dataset.versoin", "is not a field: did you mean version?"),
    (job(dataset="digits"), "spec.dataset", "must be an object, got 'digits'"),
    (job(model={}), "spec.model", "must have exactly one of name, torchvision, timm, python, got none"),
    (job(model={"name": "lenett"}), "spec.model.name", "got 'lenett': did you mean lenet? Otherwise use one of lenet"),
    (job(model={"name": "lenet", "timm": {"name": "x"}}), "spec.model", "exactly one of"),
    (job(model={"timm": {"name": "resnet18"}}), "spec.model.timm", "is not supported yet"),
    (job(script={"command": ["a.py"]}), "spec", "must have exactly one of model, script, got model and script"),
    ({"script": {"command": []}}, "spec.script.command", "must have at least 1"),
    ({"script": {"command": ["a.py"]}, "recipe": {"epochs": 3}}, "spec", "must not have a recipe with a script"),
    (job(recipe={"epochs": 0}), "spec.recipe.epochs", "must be greater than 0"),
    (job(recipe={"epochs": "ten"}), "spec.recipe.epochs", "must be a number, got 'ten'"),
    (job(recipe={"epochs": 1, "maxSteps": 5}), "spec.recipe", "must not have both epochs and maxSteps"),
    (job(recipe={"batchSize": 1.5}), "spec.recipe.batchSize", "must be a whole number, got 1.5"),
    (job(recipe={"batchSize": 8, "microBatchSize": 9}), "spec.recipe", "must have microBatchSize at most batchSize"),
    (job(recipe={"seed": -1}), "spec.recipe.seed", "must be at least 0, got -1"),
    (job(recipe={"deterministic": "yes"}), "spec.recipe.deterministic", "must be true or false, got 'yes'"),
    (job(recipe={"optimizer": "sgd"}), "spec.recipe.optimizer", "must be an object"),
    (job(recipe={"optimizer": {"name": "sdg"}}), "spec.recipe.optimizer.name", "did you mean sgd?"),
    (job(recipe={"optimizer": {"name": "sgd", "beta1": 0.9}}), "spec.recipe.optimizer", "drop beta1"),
    (job(recipe={"optimizer": {"rho": 0.9}}), "spec.recipe.optimizer", "must be adadelta to have rho, got rho with adamw"),
    (job(recipe={"optimizer": {"learningRate": "5e-4"}}), "spec.recipe.optimizer.learningRate", "must be a number"),
    (job(recipe={"optimizer": {"learning_rate": 1}}), "spec.recipe.optimizer.learning_rate", "did you mean learningRate?"),
    (job(recipe={"optimizer": {"learningRate": float("inf")}}), "spec.recipe.optimizer.learningRate", "finite"),
    (job(recipe={"optimizer": {"momentum": 0.9}}), "spec.recipe.optimizer", "drop momentum"),
    (job(recipe={"schedule": {"name": "cosine", "power": 2}}), "spec.recipe.schedule", "must be inverse or polynomial"),
    (job(recipe={"schedule": {"name": "step", "gamma": 2}}), "spec.recipe.schedule", "lower gamma"),
    (job(recipe={"schedule": {"warmupFraction": 1}}), "spec.recipe.schedule.warmupFraction", "must be less than 1"),
    (job(recipe={"augment": {"flip": "sideways"}}), "spec.recipe.augment.flip", "must be one of none, horizontal"),
    (job(recipe={"validation": {"weights": "ema"}}), "spec.recipe", "add ema"),
    (job(recipe={"validation": {"every": {"epochs": 1, "steps": 1}}}), "spec.recipe.validation.every", "exactly one"),
    (job(workers={"nodes": 0}), "spec.workers.nodes", "must be at least 1, got 0"),
    (job(workers={"nodes": [2]}), "spec.workers.nodes", "must be a whole number"),
    (job(workers={"gpusPerNode": 2, "processesPerNode": 2}), "spec.workers", "one process runs on each GPU"),
    (job(workers={"nodes": 2, "elastic": {"minNodes": 3, "maxNodes": 2}}), "spec.workers.elastic", "minNodes at most"),
    (job(workers={"nodes": 5, "elastic": {"minNodes": 1, "maxNodes": 2}}), "spec.workers", "change nodes"),
    (job(workers={"resources": {"memory": "lots"}}), "spec.workers.resources.memory", "must match"),
    (job(workers={"podTemplate": {"hostNetwork": True}}), "spec.workers.podTemplate.hostNetwork", "is not a field"),
    (job(workers={"podTemplate": {"env": [{"name": "OARLOCK_RUN"}]}}), "spec.workers.podTemplate.env[0]", "OARLOCK_*"),
    (job(workers={"podTemplate": {"volumes": [{"name": "a", "mountPath": "/x", "hostPath": "/"}]}}),
     "spec.workers.podTemplate.volumes[0].hostPath", "is not a field"),
    (job(workers={"podTemplate": {"volumes": [{"name": "oarlock-scratch", "mountPath": "/x", "claim": "a"}]}}),
     "spec.workers.podTemplate.volumes[0]", "must not be named oarlock-*"),
    (job(workers={"podTemplate": {"volumes": [{"name": "a", "mountPath": "/x", "claim": "a"},
                                              {"name": "a", "mountPath": "/y", "claim": "b"}]}}),
     "spec.workers.podTemplate", "must have volumes of different names"),
    (job(workers={"podTemplate": {"volumes": [{"name": "a", "mountPath": "/x", "claim": "a"},
                                              {"name": "b", "mountPath": "/x", "claim": "b"}]}}),
     "spec.workers.podTemplate", "must have volumes at different mountPaths"),
    (job(workers={"podTemplate": {"labels": {"oarlock.dev/uid": "another"}}}),
     "spec.workers.podTemplate", "must not have labels under oarlock.dev/"),
    (job(workers={"podTemplate": {"annotations": {"oarlock.dev/run-hash": "forged"}}}),
     "spec.workers.podTemplate", "must not have annotations under oarlock.dev/"),
    (job(workers={"podTemplate": {"securityContext": {"privileged": True}}}),
     "spec.workers.podTemplate.securityContext", "is not a field"),
    (job(workers={"podTemplate": {"volumes": [{"name": "a", "mountPath": "/dev", "claim": "a"}]}}),
     "spec.workers.podTemplate.volumes[0]", "must not be mounted under /oarlock, /dev, /tmp"),
    (job(workers={"podTemplate": {"volumes": [{"name": "a", "mountPath": "//oarlock/data", "claim": "a"}]}}),
     "spec.workers.podTemplate.volumes[0].mountPath", "must match"),
    (job(workers={"podTemplate": {"volumes": [{"name": "a", "mountPath": "/x/../oarlock", "claim": "a"}]}}),
     "spec.workers.podTemplate.volumes[0].mountPath", "must match"),
    (job(checkpoints={"volume": {"size": "0Gi"}}), "spec.checkpoints.volume.size", "must match"),
    (job(workers={"nodes": 2}, checkpoints={"volume": {"accessModes": ["ReadWriteOnce"]}}), "spec", "ReadWriteMany"),
    (job(checkpoints={"every": {}}), "spec.checkpoints.every", "at least one of minutes, epochs, steps"),
    (job(checkpoints={"keep": 0}), "spec.checkpoints.keep", "must be at least 1"),
    (job(checkpoints={"keepBest": {"metric": "train/loss"}}), "spec.checkpoints.keepBest.metric", "must be one of"),
    (job(runPolicy={"gracePeriodSeconds": 1}), "spec.runPolicy.gracePeriodSeconds", "must be at least 5"),
    (job(runPolicy={"ttlSecondsAfterFinished": -1}), "spec.runPolicy.ttlSecondsAfterFinished", "must be at least 0"),
    (job(runPolicy={"suspended": True}), "spec.runPolicy.suspended", "did you mean suspend?"),
]  # fmt: skip

BAD_DATASETS: list[tuple[dict[str, Any], str, str]] = [
    ({}, "spec.source", "is required"),
    (dataset(source={}), "spec.source", "must have exactly one of volume, http, s3, package, got none"),
    (dataset(source={"volume": {"claim": "a"}, "s3": {}}), "spec.source", "got volume and s3"),
    (dataset(source={"volume": {"claim": "a", "path": "/abs"}}), "spec.source.volume.path", "must match"),
    (dataset(source={"volume": {"claim": "a", "path": "../others"}}), "spec.source.volume.path", "must match"),
    (
        dataset(source={"package": {"name": "a", "version": "1", "path": "a/../../b"}}),
        "spec.source.package.path",
        "must match",
    ),
    (dataset(source={"http": {"url": "https://example.org/a.zip"}}), "spec.source.http", "is not supported yet"),
    (dataset(source={"http": {"url": "file:///etc/passwd"}}), "spec.source.http.url", "must match"),
    (dataset(source={"package": {"name": "mlxtend"}}), "spec.source.package.version", "is required"),
    (dataset(layout={}), "spec.layout", "must have exactly one of folders"),
    (dataset(layout={"folders": {}, "csv": {}}), "spec.layout", "got folders and csv"),
    (dataset(layout={"coco": {"images": "a", "annotations": "b"}}), "spec.layout.coco", "is not supported yet"),
    (dataset(layout={"csv": {"label": "first"}}), "spec.layout.csv.label", "must be a whole number"),
    (dataset(split={"validation": 1.5}), "spec.split.validation", "must be at most 1"),
    (dataset(split={"validation": 0.6, "test": 0.4}), "spec.split", "must leave samples for training"),
    (dataset(image={"width": 0}), "spec.image.width", "must be at least 1"),
    (dataset(image={"encoding": "jpeg"}), "spec.image.encoding", "is not supported yet"),
    (dataset(image={"channels": "grey"}), "spec.image.channels", "did you mean gray?"),
    (dataset(storage={"size": "20"}) | {"storage": {"size": "-1Gi"}}, "spec.storage.size", "must match"),
    (dataset(storage={"claim": "a", "storageClass": "b"}), "spec.storage", "drop claim"),
    (dataset(task="segmentation"), "spec.task", "is not supported yet"),
    (dataset(task="classify"), "spec.task", "must be one of imageClassification"),
]

BAD_NAMES = ["Digits", "1digits", "digits-", "a" * 41, "a_b", "a.b"]
