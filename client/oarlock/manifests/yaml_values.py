"""YAML as kubectl reads it, with the line of every value. Pure.

It differs from PyYAML's own loader where kubectl does: `5e-4` is a number, `12:30` and `2024-01-01` are texts, and a key that
is given twice is an error.
"""

import math
import re
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from oarlock_api.findings import Finding

MAX_VALUES = 100_000
"""Values in one document, aliases counted each time: a few lines of YAML can otherwise mean millions."""

_INTEGER, _FLOAT, _BOOLEAN = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float", "tag:yaml.org,2002:bool"
_NULL, _TEXT, _MERGE = "tag:yaml.org,2002:null", "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"
_INFINITY = re.compile(r"^[-+]?\.(inf|Inf|INF)$")


class _Loader(yaml.SafeLoader):
    """Resolves plain scalars as Go's YAML 1.1 parser does."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  # PyYAML's protocol


_Loader.add_implicit_resolver(
    _BOOLEAN, re.compile(r"^(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$"), None
)
_Loader.add_implicit_resolver(
    _INTEGER, re.compile(r"^[-+]?(?:0[bB][01_]+|0[oO]?[0-7_]+|0[xX][0-9a-fA-F_]+|0|[1-9][0-9_]*)$"), None
)
_Loader.add_implicit_resolver(
    _FLOAT,
    re.compile(
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    None,
)
_Loader.add_implicit_resolver(_NULL, re.compile(r"^(?:~|null|Null|NULL|)$"), None)
_Loader.add_implicit_resolver(_MERGE, re.compile(r"^<<$"), None)

_COLLECTIONS = frozenset({"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})
_SCALARS = frozenset({_INTEGER, _FLOAT, _BOOLEAN, _NULL, _TEXT})
_TRUE = frozenset({"yes", "true", "on"})


@dataclass(kw_only=True, slots=True)
class Document:
    """One YAML document."""

    value: Any
    line: int
    """Line on which it begins, counted from 1."""
    lines: dict[str, int] = field(default_factory=dict)
    """Line of each value, by path: `spec.paramGroups[0].match`."""
    words: dict[str, str] = field(default_factory=dict)
    """How values that are booleans are written, by path: people write on and off and mean texts."""
    findings: list[Finding] = field(default_factory=list)
    """What is wrong with it as YAML."""

    def line_of(self, path: str) -> int:
        """Return the line of a path; of the nearest one above it, if it is not there."""
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.line


def parse_documents(text: str) -> Iterator[Document]:
    """Yield the documents of a YAML text, without the empty ones; a syntax error ends it with a document of findings."""
    try:
        for node in yaml.compose_all(text, Loader=_Loader):
            if node is not None and not (isinstance(node, yaml.ScalarNode) and node.tag == _NULL):
                yield _Reader(_line(node)).read(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        yield Document(value=None, line=line, findings=[_describe_syntax_error(error, line)])
    except yaml.YAMLError as error:
        yield Document(value=None, line=1, findings=[_finding("", "must be YAML", 1, found=str(error))])


def parse_scalar(text: str) -> Any:
    """Return what a single value means, as in `--set path=value`; a text that is no YAML stays a text."""
    documents = list(parse_documents(text))
    if len(documents) != 1 or documents[0].findings:
        return None if not documents else text
    return documents[0].value


class _Reader:
    """Turns the nodes of one document into values."""

    def __init__(self, line: int) -> None:
        self._document = Document(value=None, line=line)
        self._open: set[int] = set()
        self._count = 0

    def read(self, node: yaml.Node) -> Document:
        self._document.value = self._read(node, "")
        return self._document

    def _read(self, node: yaml.Node, path: str) -> Any:
        self._document.lines.setdefault(path, _line(node))
        self._count += 1
        if self._count == MAX_VALUES:
            self._complain(path, f"must have at most {MAX_VALUES} values", node, remedy="repeat fewer aliases")
        if self._count >= MAX_VALUES or id(node) in self._open:
            if id(node) in self._open:
                self._complain(path, "must not contain itself", node, remedy="drop the alias")
            return None
        self._open.add(id(node))
        try:
            return self._read_any(node, path)
        finally:
            self._open.discard(id(node))

    def _read_any(self, node: yaml.Node, path: str) -> Any:
        if node.tag not in _SCALARS | _COLLECTIONS:
            self._complain(path, "must not have a YAML tag", node, found=node.tag, remedy="drop the tag")
        if isinstance(node, yaml.MappingNode):
            return self._read_mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._read(item, f"{path}[{index}]") for index, item in enumerate(node.value)]
        return self._read_scalar(node, path)

    def _read_mapping(self, node: yaml.MappingNode, path: str) -> dict[str, Any]:
        values: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                merged |= self._read_merged(value_node, path)
                continue
            key = self._read_key(key_node, path)
            below = f"{path}.{key}" if path else key
            if key in values:
                first = self._document.lines[below]
                self._complain(below, f"is given twice, first on line {first}", key_node, remedy="keep one of them")
                continue
            self._document.lines[below] = _line(key_node)
            values[key] = self._read(value_node, below)
        return {**merged, **values}

    def _read_merged(self, node: yaml.Node, path: str) -> dict[str, Any]:
        parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for part in reversed(parts):  # the first of several wins
            value = self._read(part, path)
            if not isinstance(value, dict):
                self._complain(path, "must merge objects with <<", part, remedy="point it at an object")
                continue
            merged |= value
        return merged

    def _read_key(self, node: yaml.Node, path: str) -> str:
        if isinstance(node, yaml.ScalarNode):
            return str(node.value)
        self._complain(path, "must have texts as keys", node, remedy="name the field")
        return "?"

    def _read_scalar(self, node: yaml.Node, path: str) -> Any:
        text = str(node.value)
        if node.tag == _BOOLEAN:
            self._document.words[path] = text
        return _convert(node.tag, text)

    def _complain(self, path: str, rule: str, node: yaml.Node, *, remedy: str, found: str = "") -> None:
        self._document.findings.append(_finding(path, rule, _line(node), found=found, remedy=remedy))


def _convert(tag: str, text: str) -> Hashable:
    match tag:
        case "tag:yaml.org,2002:int":
            return _convert_integer(text.replace("_", "").lower())
        case "tag:yaml.org,2002:float":
            return _convert_float(text)
        case "tag:yaml.org,2002:bool":
            return text.lower() in _TRUE
        case "tag:yaml.org,2002:null":
            return None
    return text


def _convert_integer(text: str) -> int:
    sign = -1 if text.startswith("-") else 1
    digits = text.lstrip("+-")
    if len(digits) > 1 and digits[0] == "0" and digits[1].isdigit():
        return sign * int(digits, 8)
    return sign * int(digits, 0)


def _convert_float(text: str) -> float:
    if _INFINITY.match(text):
        return -math.inf if text.startswith("-") else math.inf
    return math.nan if text.lower() == ".nan" else float(text)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _finding(path: str, rule: str, line: int, *, found: str = "", remedy: str = "") -> Finding:
    return Finding(path=path or "the document", rule=rule, found=found, remedy=remedy, line=line)


def _describe_syntax_error(error: yaml.MarkedYAMLError, line: int) -> Finding:
    what = " ".join(part for part in (error.context, error.problem) if part)
    remedy = "indent with spaces" if "\\t" in what else "check indentation, colons and quotes here"
    return _finding("", "must be YAML", line, found=what, remedy=remedy)
