"""The API reference as Markdown, made from the CustomResourceDefinitions. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any


def api_reference(*definitions: Mapping[str, Any]) -> str:
    """Return the reference page of the kinds that `definitions` define."""
    lines = [
        "# API reference",
        "",
        "Generated from the models in `crds/oarlock_api/` by `make generate`.",
        "Fields of lists are marked `[]`. A default in brackets depends on nothing else; all other absent fields are resolved when a job is accepted, and shown in `status.run`.",
    ]
    for definition in definitions:
        lines += _kind(definition)
    return "\n".join(lines) + "\n"


def _kind(definition: Mapping[str, Any]) -> Iterator[str]:
    names, version = definition["spec"]["names"], definition["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    yield from ("", f"## {names['kind']}", "", schema["description"])
    yield from (
        "",
        f"Short name: `{names['shortNames'][0]}`. API version: `{definition['spec']['group']}/{version['name']}`.",
    )
    for part in ("spec", "status"):
        yield from ("", f"### {names['kind']} {part}", "", "| field | type | meaning |", "|---|---|---|")
        yield from _rows(part, schema["properties"][part])


def _rows(path: str, schema: Mapping[str, Any]) -> Iterator[str]:
    required = schema.get("required", ())
    for name, sub in schema.get("properties", {}).items():
        where = f"{path}.{name}"
        needed = " **required.**" if name in required else ""
        yield f"| `{where}` | {_type(sub)} | {_escape(sub.get('description', ''))}{needed}{_bounds(sub)} |"
        yield from _rows(where, sub)
        if "properties" in sub.get("items", {}):
            yield from _rows(f"{where}[]", sub["items"])


def _type(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return "enum"
    if schema.get("type") == "array":
        return f"list of {schema.get('items', {}).get('type', 'object')}"
    return str(schema.get("type", "object"))


def _bounds(schema: Mapping[str, Any]) -> str:
    facts = []
    if "enum" in schema:
        facts.append("one of " + ", ".join(f"`{value}`" for value in schema["enum"]))
    if "minimum" in schema:
        facts.append(f"{'more than' if schema.get('exclusiveMinimum') else 'at least'} {_number(schema['minimum'])}")
    if "maximum" in schema:
        facts.append(f"{'less than' if schema.get('exclusiveMaximum') else 'at most'} {_number(schema['maximum'])}")
    default = schema.get("default")
    if default is not None and not isinstance(default, dict) and default != "":
        facts.append(f"default `{str(default).lower() if isinstance(default, bool) else default}`")
    return f" ({'; '.join(facts)})" if facts else ""


def _number(value: float) -> str:
    return f"{value:g}" if abs(value) < 1e6 else f"{value:,.0f}"  # noqa: PLR2004


def _escape(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
