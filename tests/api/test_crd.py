"""The CustomResourceDefinitions: current, structural, and with bounds on all that a rule walks over."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oarlock_api.crd import dataset_crd, training_job_crd
from oarlock_api.generate import find_stale_files
from oarlock_api.structural_schema import apply_defaults

ROOT = Path(__file__).parents[2]
DEFINITIONS = [dataset_crd(), training_job_crd()]


def schema_of(definition: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def walk(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, sub in schema.get("properties", {}).items():
        yield from walk(sub, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from walk(schema[key], f"{path}[]")


def test_generated_files_are_current_when_the_models_have_not_changed() -> None:
    assert find_stale_files(ROOT) == [], "run 'make generate'"


def test_generated_files_are_stale_when_one_is_edited(tmp_path: Path) -> None:
    assert "crds/oarlock.dev_datasets.yaml" in find_stale_files(tmp_path)


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda definition: definition["spec"]["names"]["kind"])
class TestStructure:
    def test_every_field_has_a_type_and_a_description(self, definition: dict[str, Any]) -> None:
        for path, schema in walk(schema_of(definition)["properties"]["spec"], "spec"):
            if schema.get("x-kubernetes-preserve-unknown-fields"):
                continue
            assert "type" in schema, path
            assert "description" in schema or path.endswith("[]"), path

    def test_every_list_map_and_text_of_the_spec_is_bounded(self, definition: dict[str, Any]) -> None:
        """Otherwise the API server refuses the rules about it as too costly."""
        for path, schema in walk(schema_of(definition)["properties"]["spec"], "spec"):
            if schema.get("type") == "array":
                assert "maxItems" in schema, path
            if schema.get("type") == "string":
                assert {"maxLength", "enum", "pattern"} & schema.keys(), path
            if "additionalProperties" in schema:
                assert "maxProperties" in schema, path

    def test_no_arm_of_a_union_has_a_default(self, definition: dict[str, Any]) -> None:
        """A default would be filled in beside the arm that the user chose."""
        for path, schema in walk(schema_of(definition)):
            for rule in schema.get("x-kubernetes-validations", ()):
                if "must have exactly one of" in rule["message"]:
                    arms = rule["message"].split("exactly one of ")[1].split(":")[0].split(", ")
                    assert not [arm for arm in arms if "default" in schema["properties"][arm]], path

    def test_defaults_satisfy_their_own_schema(self, definition: dict[str, Any]) -> None:
        for path, schema in walk(schema_of(definition)["properties"]["spec"], "spec"):
            if isinstance(schema.get("default"), dict):
                assert schema["default"].keys() <= schema["properties"].keys(), path


def test_defaults_are_filled_in_below_absent_objects_when_a_job_is_minimal() -> None:
    job = apply_defaults(
        schema_of(training_job_crd()), {"spec": {"dataset": {"name": "a"}, "model": {"name": "lenet"}}}
    )

    assert job["spec"]["workers"]["nodes"] == 1
    assert job["spec"]["runPolicy"]["backoffLimit"] == 3
    assert "epochs" not in job["spec"]["recipe"]


def test_a_users_choice_stays_alone_when_a_union_is_defaulted() -> None:
    spec = {"dataset": {"name": "a"}, "model": {"name": "lenet"}, "recipe": {"validation": {"every": {"steps": 10}}}}

    job = apply_defaults(schema_of(training_job_crd()), {"spec": spec})

    assert job["spec"]["recipe"]["validation"]["every"] == {"steps": 10}
