"""Model to structural schema: the subset of JSON Schema that a CustomResourceDefinition takes. Pure."""

from collections.abc import Mapping
from typing import Any

from oarlock_api.rule import Rule
from oarlock_api.wire import WireModel

Schema = dict[str, Any]
_KEPT = (
    "type",
    "description",
    "default",
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "required",
    "x-kubernetes-preserve-unknown-fields",
)


def structural_schema(model: type[WireModel], *, with_defaults: bool = True) -> Schema:
    """Return the structural schema of a model: references inlined, nothing in it that an API server would refuse."""
    raw = model.model_json_schema(by_alias=True, mode="validation")
    schema = _convert(raw, raw.get("$defs", {}))
    return schema if with_defaults else _without_defaults(schema)


def add_rules(schema: Schema, rules: tuple[Rule, ...], *, below: str) -> None:
    """Write the CEL rules into `schema`, the schema of what the dotted path `below` names."""
    for rule in rules:
        node = _node_at(schema, rule.at.removeprefix(below).lstrip("."))
        validations = node.setdefault("x-kubernetes-validations", [])
        validations.append({"rule": rule.cel, "message": f"{rule.rule}: {rule.remedy}"})


def apply_defaults(schema: Mapping[str, Any], value: Any) -> Any:
    """Return `value` with the schema's defaults filled in, as an API server does on writing."""
    if isinstance(value, Mapping):
        properties: Mapping[str, Any] = schema.get("properties", {})
        absent = {key: sub["default"] for key, sub in properties.items() if "default" in sub and key not in value}
        return {key: apply_defaults(properties.get(key, {}), item) for key, item in {**value, **absent}.items()}
    if isinstance(value, list):
        return [apply_defaults(schema.get("items", {}), item) for item in value]
    return value


def _convert(raw: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    node = _inline(raw, definitions)
    schema = {key: node[key] for key in _KEPT if key in node}
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if exclusive in node:
            schema |= {bound: node[exclusive], exclusive: True}
    if "default" in schema:
        schema["default"] = _without_nulls(schema["default"])
        if schema["default"] == "":  # an absent text says as much, and helm turns this default into null
            del schema["default"]
    if "const" in node:
        schema |= {"type": "string", "enum": [node["const"]]}
    if "properties" in node:
        schema["properties"] = {key: _convert(value, definitions) for key, value in node["properties"].items()}
    if "items" in node:
        schema["items"] = _convert(node["items"], definitions)
    if isinstance(node.get("additionalProperties"), Mapping):
        schema["additionalProperties"] = _convert(node["additionalProperties"], definitions)
    return schema


def _inline(raw: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Follow references and drop the null arm of optional fields; what stands beside a reference wins over it."""
    beside = {key: value for key, value in raw.items() if key not in ("$ref", "anyOf", "allOf")}
    if "$ref" in raw:
        return {**_inline(definitions[raw["$ref"].rsplit("/", 1)[1]], definitions), **beside}
    arms = [arm for arm in raw.get("anyOf", raw.get("allOf", ())) if arm.get("type") != "null"]
    if len(arms) > 1:
        raise ValueError(f"a field with several types is not structural: {raw}")
    # A default of null says that the field may be absent, which the schema says by not requiring it.
    kept = {key: value for key, value in beside.items() if not (key == "default" and value is None)}
    return {**_inline(arms[0], definitions), **kept} if arms else kept


def _without_nulls(value: Any) -> Any:
    """Drop absent and empty fields from a default: an API server refuses null where a type is declared."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item not in (None, "")}
    return value


def _without_defaults(schema: Schema) -> Schema:
    kept = {key: value for key, value in schema.items() if key not in ("default", "required")}
    if "properties" in kept:
        kept["properties"] = {key: _without_defaults(value) for key, value in kept["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(kept.get(key), dict):
            kept[key] = _without_defaults(kept[key])
    return kept


def _node_at(schema: Schema, path: str) -> Schema:
    node = schema
    for part in path.split(".") if path else ():
        node = node["properties"][part.removesuffix("[]")]
        node = node["items"] if part.endswith("[]") else node
    return node
