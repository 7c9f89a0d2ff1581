"""Both forms of each cross-field rule, CEL and Python, say the same of the same objects."""

from typing import Any

import celpy
import pytest

from oarlock_api import rules
from oarlock_api.rule import Rule, name_in_cel

ALL_RULES = [("Dataset", rule) for rule in rules.DATASET_RULES] + [
    ("TrainingJob", rule) for rule in rules.TRAINING_JOB_RULES
]

# Objects by the end of the path that a rule speaks of. Every rule must find something here that it refuses, and something not.
SCOPES: dict[str, list[dict[str, Any]]] = {
    "spec.source": [{}, {"volume": {}}, {"volume": {}, "http": {}}, {"package": {}}, {"s3": {}, "package": {}}],
    "spec.layout": [{}, {"folders": {}}, {"folders": {}, "csv": {}}, {"idx": {}}],
    "spec.split": [
        {},
        {"validation": 0.5, "test": 0.5},
        {"validation": 0.25, "test": 0.25},
        {"validation": 1.0, "test": 0.0},
    ],
    "spec.storage": [
        {},
        {"claim": "a"},
        {"claim": "a", "storageClass": "fast"},
        {"claim": "a", "accessModes": ["ReadWriteMany"]},
        {"accessModes": ["ReadOnlyMany"]},
        {"accessModes": ["ReadOnlyMany", "ReadWriteMany"]},
    ],
    "volumes[]": [
        {"name": "a", "mountPath": "/data", "claim": "a"},
        {"name": "a", "mountPath": "/oarlock", "claim": "a", "secret": "b"},
        {"name": "a", "mountPath": "/oarlock/data", "emptyDir": {}},
        {"name": "a", "mountPath": "/dev/shm"},
        {"name": "a", "mountPath": "/dev", "claim": "a"},
        {"name": "oarlock-scratch", "mountPath": "/x", "claim": "a"},
        {"name": "a", "mountPath": "/oarlocks", "configMap": "c"},
        {"name": "a", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "emptyDir": {}},
    ],
    "podTemplate": [
        {},
        {"volumes": []},
        {"volumes": [{"name": "a", "mountPath": "/a"}, {"name": "b", "mountPath": "/b"}]},
        {"volumes": [{"name": name, "mountPath": f"/{place}"} for place, name in enumerate("aba")]},
        {"volumes": [{"name": "a", "mountPath": "/a"}, {"name": "b", "mountPath": "/a"}]},
        {"labels": {"team": "vision", "example.com/app.kubernetes.io": "x"}, "annotations": {"note": "oarlock.dev/"}},
        {"labels": {"team": "vision", "oarlock.dev/job": "another"}},
        {"annotations": {"app.kubernetes.io/name": "mine"}},
    ],
    "env[]": [{"name": "NCCL_DEBUG"}, {"name": "OARLOCK_RUN"}, {"name": "MY_OARLOCK_X"}],
    "spec": [
        {"model": {}},
        {"script": {}},
        {"model": {}, "script": {}},
        {},
        {"model": {}, "workers": {"nodes": 2}, "checkpoints": {"volume": {"accessModes": ["ReadWriteOnce"]}}},
        {"model": {}, "workers": {"nodes": 2}, "checkpoints": {"volume": {"accessModes": ["ReadWriteMany"]}}},
        {"model": {}, "workers": {"nodes": 1}, "checkpoints": {"volume": {"accessModes": ["ReadWriteOnce"]}}},
        {
            "model": {},
            "workers": {"nodes": 1, "elastic": {"minNodes": 1, "maxNodes": 2}},
            "checkpoints": {"volume": {"accessModes": ["ReadWriteOnce"]}},
        },
        {
            "model": {},
            "workers": {"elastic": {"minNodes": 1, "maxNodes": 1}},
            "checkpoints": {"volume": {"accessModes": ["ReadWriteOnce"]}},
        },
        {"model": {}, "workers": {"nodes": 2}, "checkpoints": {"volume": {}}},
        {"model": {}, "workers": {"nodes": 2}},
        {"model": {}, "dataset": {"name": "a"}},
        {"script": {}, "recipe": {"seed": 0}},
        {"script": {}, "recipe": {"epochs": 1}},
        {"script": {"image": "a"}, "workers": {"podTemplate": {"image": "b"}}},
        {"script": {"image": "a"}, "workers": {"podTemplate": {}}},
        *({"layout": {name: {}}} for name in ("folders", "kitti", "coco", "pairs", "csv")),
        *(
            {"task": "objectDetection", "layout": {name: {}}}
            for name in ("folders", "kitti", "coco", "idx", "csv", "textFiles")
        ),
        {"task": "segmentation", "layout": {"pairs": {}}},
        {"task": "segmentation", "layout": {"pairs": {"masks": "b", "classMap": "c"}}},
        {"task": "imageToImage", "layout": {"pairs": {"classMap": "c"}}},
        {"task": "textClassification", "layout": {"csv": {}}, "text": {}},
        {"task": "textClassification", "layout": {"csv": {"text": 1}}, "image": {}},
        {"layout": {"csv": {"text": 1}}, "image": {}, "text": {}},
    ],
    "spec.model": [
        {"name": "lenet"},
        {"name": "lenet", "timm": {}},
        {},
        {"python": {}},
        {"timm": {"weights": "a"}},
        {"timm": {"name": "a"}, "initFrom": {"job": "b"}},
        {"torchvision": {"weights": ""}, "initFrom": {"job": "b"}},
    ],
    "spec.model.initFrom": [
        {"job": "a"},
        {"job": "a", "path": "b"},
        {},
        {"job": "a", "checkpoint": "Latest"},
        {"job": "a", "step": 3},
        {"job": "a", "step": 3, "checkpoint": "Best"},
        {"path": "b", "step": 3},
        {"path": "b", "checkpoint": "Best"},
    ],
    "spec.recipe": [
        *({"trace": {}, "maxSteps": steps} for steps in (19, 20)),
        *({"trace": {"firstStep": 9, "steps": 1}, "maxSteps": steps} for steps in (8, 9)),
        {},
        {"epochs": 1.0},
        {"epochs": 1.0, "maxSteps": 1},
        {"batchSize": 8, "microBatchSize": 16},
        {"batchSize": 16, "microBatchSize": 16},
        {"validation": {"weights": "ema"}},
        {"validation": {"weights": "ema"}, "ema": {"decay": 0.9}},
        {"validation": {"weights": "model"}},
        {"optimizer": {"name": "muon"}, "parallelism": "fsdp"},
        {"optimizer": {"name": "muon"}, "parallelism": "ddp"},
        {"optimizer": {}, "parallelism": "fsdp"},
        {"tune": ["learningRate"], "parallelism": "fsdp"},
        {"tune": [], "parallelism": "fsdp"},
        {"tune": ["learningRate"], "batchNorm": "synchronized"},
        {"tune": ["microBatchSize"], "batchNorm": "synchronized"},
        {"tune": ["microBatchSize"], "batchNorm": "local"},
    ],
    "spec.recipe.paramGroups[]": [
        {"match": "a", "freeze": True},
        {"match": "a", "freeze": True, "learningRate": 0.1},
        {"match": "a", "freeze": False, "weightDecay": 0.1},
    ],
    "spec.recipe.validation.every": [{}, {"epochs": 1}, {"steps": 1}, {"epochs": 1, "steps": 1}],
    "spec.recipe.schedule": [
        {},
        {"name": "multistep"},
        {"name": "multistep", "stepPercents": [50.0]},
        {"name": "multistep", "gamma": 2.0},
        {"name": "sigmoid", "gamma": 2.0, "stepPercent": 40.0},
        {"name": "fixed"},
        {"gamma": 0.5},
        {"name": "polynomial", "power": 2.0, "finalFraction": 0.1},
        {"finalFraction": 0.1},
        *({name: value} for name, value in (("power", 2.0), ("stepPercent", 40.0), ("stepPercents", [50.0]))),
    ],
    "spec.recipe.loss": [
        {"classWeights": "none", "weightByClass": {"a": 2.0}},
        {"classWeights": "balanced", "weightByClass": {"a": 2.0}},
        {"weightByClass": {"a": 2.0}},
        {"classWeights": "balanced"},
    ],
    "spec.recipe.optimizer": [
        {},
        {"momentum": 0.9},
        {"name": "sgd", "momentum": 0.9},
        {"name": "adamw", "momentum": 0.9},
        {"name": "sgd", "nesterov": True},
        {"name": "sgd", "nesterov": True, "momentum": 0.0},
        {"name": "adamw", "nesterov": True},
        {"name": "adamw", "nesterov": False},
        {"nesterov": True},
        {"name": "muon", "nesterov": True, "beta1": 0.8},
        {"name": "muon", "l1Penalty": 0.1},
        {"name": "sgd", "l1Penalty": 0.1},
        {"name": "sgd", "beta1": 0.9},
        {"name": "sgd", "beta1": 0.8},
        {"name": "rmsprop", "squareDecay": 0.9, "momentum": 0.5},
        {"name": "adadelta", "rho": 0.9, "squareDecay": 0.9},
        {"rho": 0.9},
        {"name": "adagrad", "beta2": 0.9},
        {"name": "sgd", "epsilon": 0.1},
    ],
    "spec.workers": [
        {},
        {"processesPerNode": 2},
        {"processesPerNode": 2, "gpusPerNode": 0},
        {"processesPerNode": 2, "gpusPerNode": 8},
        {"nodes": 3, "elastic": {"minNodes": 1, "maxNodes": 2}},
        {"nodes": 2, "elastic": {"minNodes": 1, "maxNodes": 2}},
        {"nodes": 1, "elastic": {"minNodes": 2, "maxNodes": 2}},
    ],
    "spec.workers.elastic": [{"minNodes": 1, "maxNodes": 2}, {"minNodes": 3, "maxNodes": 2}],
    "spec.checkpoints.every": [{}, {"minutes": 1.0}, {"epochs": 1, "steps": 2}],
    "spec.checkpoints.volume": [],
}
SCOPES["spec.checkpoints.volume"] = SCOPES["spec.storage"]


def scopes_of(rule: Rule) -> list[dict[str, Any]]:
    return SCOPES.get(rule.at) or SCOPES[rule.at.rsplit(".", 1)[1]]


@pytest.mark.parametrize(
    ("kind", "rule"), ALL_RULES, ids=[f"{kind}-{rule.at}-{rule.rule[:30]}" for kind, rule in ALL_RULES]
)
def test_cel_and_python_agree_when_a_rule_meets_an_object(kind: str, rule: Rule) -> None:
    environment = celpy.Environment()
    program = environment.program(environment.compile(rule.cel))
    verdicts = set()

    for scope in scopes_of(rule):
        holds = bool(
            program.evaluate({"self": celpy.json_to_cel({name_in_cel(key): each for key, each in scope.items()})})
        )
        assert holds == (rule.broken(scope) is None), scope
        verdicts.add(holds)

    assert verdicts == {True, False}, "the table has no object that tells this rule from an empty one"


@pytest.mark.parametrize("rule", [rule for _, rule in ALL_RULES], ids=lambda rule: rule.rule[:30])
@pytest.mark.parametrize(
    "scope", [{}, {"claim": 5, "accessModes": "x", "volumes": 3, "elastic": [], "workers": 1, "validation": []}]
)
def test_python_rules_leave_wrong_types_to_the_models_when_they_meet_them(rule: Rule, scope: dict[str, Any]) -> None:
    rule.broken(scope)
