"""What an API server asks of a CEL rule before it takes a definition: types, names, guards and cost, from rule and schema alone.

A model of Kubernetes 1.25, the first with rules by default: an own, stricter one, since no server with CEL is at hand here. Types
are schemas; what is present is followed through `&&`, `||` and `?:` in the order of reading.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import celpy
from lark import Tree

from oarlock_api.rule import name_in_cel

Schema = Mapping[str, Any]
Facts = frozenset[Any]
"""Paths that are present, and pairs of paths of which both are or neither is."""

MOST_RULE_COST, MOST_DEFINITION_COST = 10_000_000, 100_000_000
_LONGEST_TEXT = 3 * 2**20
"""What a server assumes of a text without maxLength: a whole request."""
_BYTES_PER_CHARACTER = 4
_TRAVERSAL = 0.1
_LOOP = 4
BOOLEAN, INTEGER, NUMBER = {"type": "boolean"}, {"type": "integer"}, {"type": "number"}
_LITERALS = {"INT_LIT": INTEGER, "FLOAT_LIT": NUMBER, "BOOL_LIT": BOOLEAN}
_COMPREHENSIONS = frozenset({"all", "exists", "exists_one"})


class RefusedRuleError(Exception):
    """An API server would refuse the rule."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Scope:
    names: Mapping[str, Schema]
    facts: Facts = field(default_factory=frozenset)

    def knowing(self, facts: Facts) -> "_Scope":
        return _Scope(names=self.names, facts=self.facts | facts)


@dataclass(frozen=True, slots=True)
class _Result:
    schema: Schema
    cost: float


def list_rules(schema: Schema, path: str = "", times: int = 1) -> Iterator[tuple[str, Schema, dict[str, str], int]]:
    """Yield each rule of a schema: where, the schema that it is of, the rule, and how often it is evaluated at most."""
    for rule in schema.get("x-kubernetes-validations", ()):
        yield path, schema, rule, times
    for name, sub in schema.get("properties", {}).items():
        yield from list_rules(sub, f"{path}.{name}", times)
    for key, bound in (("items", "maxItems"), ("additionalProperties", "maxProperties")):
        if isinstance(schema.get(key), dict):
            yield from list_rules(schema[key], f"{path}[]", times * schema.get(bound, _LONGEST_TEXT))


def check_rule(rule: str, schema: Schema) -> float:
    """Return what a rule costs once at most.

    Raises:
        RefusedRuleError.
    """
    names = {"self": schema, "oldSelf": schema}
    result = _check(_simplify(celpy.Environment().compile(rule)), _Scope(names=names))
    _require(result.schema is BOOLEAN, "a rule is true or false")
    return result.cost


def _require(holds: bool, why: str) -> None:  # noqa: FBT001
    if not holds:
        raise RefusedRuleError(why)


def _simplify(node: Any) -> Any:
    """Leave out the levels of the grammar at which nothing happens."""
    if not isinstance(node, Tree):
        return node
    children = [_simplify(child) for child in node.children]
    is_level = not node.data.startswith(("relation_", "addition_", "unary_", "member_", "ident_", "list", "exprlist"))
    if is_level and len(children) == 1 and node.data not in ("ident", "literal"):
        return children[0]
    return Tree(node.data, children)


def _check(node: Tree[Any], scope: _Scope) -> _Result:
    check = _CHECKS.get(node.data)
    if check is None:
        raise RefusedRuleError(f"{node.data} is not used here")
    return check(node, scope)


def _check_literal(node: Tree[Any], _scope: _Scope) -> _Result:
    token: Any = node.children[0]
    return _Result(_LITERALS.get(token.type) or {"type": "string", "maxLength": len(token) - 2}, 0)


def _check_name(node: Tree[Any], scope: _Scope) -> _Result:
    name = str(node.children[0])
    _require(name in scope.names, f"nothing is called {name}")
    return _Result(scope.names[name], 1)


def _check_not(node: Tree[Any], scope: _Scope) -> _Result:
    operator, value = node.children
    _require(operator.data == "unary_not", "only ! stands before a value")
    return _Result(BOOLEAN, 1 + _check_boolean(value, scope))


def _check_junction(node: Tree[Any], scope: _Scope) -> _Result:
    first, second = node.children
    known = scope.knowing(_derive(first, holds=node.data == "conditionaland"))
    return _Result(BOOLEAN, 1 + _check_boolean(first, scope) + _check_boolean(second, known))


def _check_boolean(node: Tree[Any], scope: _Scope) -> float:
    result = _check(node, scope)
    _require(result.schema.get("type") == "boolean", "a truth value is needed")
    return result.cost


def _check_list(node: Tree[Any], scope: _Scope) -> _Result:
    items = [_check(child, scope) for child in node.children[0].children]
    _require(len({each.schema["type"] for each in items}) == 1, "items of a list are of one type")
    longest = max(items, key=lambda item: _size(item.schema)).schema
    return _Result({"type": "array", "maxItems": len(items), "items": longest}, 10 + sum(item.cost for item in items))


def _check_access(node: Tree[Any], scope: _Scope) -> _Result:
    base, name = node.children[0], str(node.children[1])
    found = _check(base, scope)
    called = {name_in_cel(each): each for each in found.schema.get("properties", {})}
    _require(name in called, f"{_write(base)} has no field that CEL calls {name}")
    path = _write(node)
    is_there = called[name] in found.schema.get("required", ()) or "default" in found.schema["properties"][called[name]]
    _require(is_there or _is_present(path, scope.facts), f"{path} may be absent: ask has() first")
    return _Result(found.schema["properties"][called[name]], found.cost + 1)


def _is_present(path: str, facts: Facts) -> bool:
    pairs = (fact for fact in facts if isinstance(fact, frozenset) and path in fact)
    return path in facts or any((pair - {path}) & facts for pair in pairs)


def _check_has(node: Tree[Any], scope: _Scope) -> _Result:
    name, arguments = node.children
    _require(name == "has" and len(arguments.children) == 1, f"there is no function {name}")
    [argument] = arguments.children
    _require(argument.data == "member_dot", "has() asks for a field")
    return _check_access_anyhow(argument, scope)


def _check_access_anyhow(node: Tree[Any], scope: _Scope) -> _Result:
    """Check a field that may be absent itself, of an object that may not."""
    return _Result(BOOLEAN, _check_access(node, scope.knowing(frozenset({_write(node)}))).cost)


def _check_call(node: Tree[Any], scope: _Scope) -> _Result:
    base, name, *arguments = node.children
    target = _check(base, scope)
    if name == "startsWith":
        [argument] = arguments[0].children
        prefix = _check(argument, scope)
        _require(target.schema["type"] == prefix.schema["type"] == "string", "startsWith is of texts")
        return _Result(BOOLEAN, target.cost + prefix.cost + 1 + _TRAVERSAL * _size(prefix.schema))
    _require(name in _COMPREHENSIONS, f"there is no function {name} in all versions since 1.25")
    variable, body = arguments[0].children
    is_map = "additionalProperties" in target.schema
    _require(is_map or target.schema["type"] == "array", f"{name} is of lists and maps")
    item = {"type": "string"} if is_map else target.schema["items"]
    inner = _Scope(names={**scope.names, str(variable.children[0]): item}, facts=scope.facts)
    return _Result(BOOLEAN, target.cost + _size(target.schema) * (_LOOP + _check_boolean(body, inner)))


def _check_choice(node: Tree[Any], scope: _Scope) -> _Result:
    condition, first, second = node.children
    cost = _check_boolean(condition, scope)
    one = _check(first, scope.knowing(_derive(condition, holds=True)))
    other = _check(second, scope.knowing(_derive(condition, holds=False)))
    _require(one.schema.get("type") == other.schema.get("type"), "both sides of a choice are of one type")
    return _Result(one.schema, 1 + cost + max(one.cost, other.cost))


def _check_operation(node: Tree[Any], scope: _Scope) -> _Result:
    operator, right = node.children
    one, other = _check(operator.children[0], scope), _check(right, scope)
    cost = one.cost + other.cost + 1
    if operator.data == "relation_in":
        _require(other.schema.get("items", {}).get("type") == one.schema["type"], "`in` asks a list of the same type")
        return _Result(BOOLEAN, cost + _size(other.schema) * (1 + _TRAVERSAL * _size(one.schema)))
    _require(
        one.schema["type"] == other.schema["type"], "both sides of an operator are of one type: 1.25 compares no others"
    )
    sizes = _size(one.schema), _size(other.schema)
    if operator.data.startswith("addition_"):
        kind = one.schema["type"]
        _require(kind in ("string", "integer", "number"), "sums are of numbers or texts")
        return _Result(
            {"type": kind, "maxLength": sum(sizes) // _BYTES_PER_CHARACTER + 1}, cost + _TRAVERSAL * sum(sizes)
        )
    return _Result(BOOLEAN, cost + _TRAVERSAL * max(sizes))


_CHECKS: Mapping[str, Callable[[Tree[Any], _Scope], _Result]] = {
    "literal": _check_literal,
    "ident": _check_name,
    "member_dot": _check_access,
    "member_dot_arg": _check_call,
    "ident_arg": _check_has,
    "list_lit": _check_list,
    "unary": _check_not,
    "conditionaland": _check_junction,
    "conditionalor": _check_junction,
    "expr": _check_choice,
    "relation": _check_operation,
    "addition": _check_operation,
}


def _size(schema: Schema) -> int:
    """Return how long a value may be, as a server assumes it from the schema: bytes, items, or 1."""
    match schema.get("type"):
        case "string":
            longest = max(map(len, schema["enum"])) if "enum" in schema else schema.get("maxLength")
            return _LONGEST_TEXT if longest is None else longest * _BYTES_PER_CHARACTER
        case "array":
            return int(schema.get("maxItems", _LONGEST_TEXT))
        case "object" if "additionalProperties" in schema:
            return int(schema.get("maxProperties", _LONGEST_TEXT))
    return 1


def _derive(node: Tree[Any], *, holds: bool) -> Facts:
    """Return what is known to be there if a condition holds, or if it does not."""
    children = node.children
    if node.data == "ident_arg":
        return frozenset({_write(children[1].children[0])}) if holds else frozenset()
    if node.data == "unary":
        return _derive(children[1], holds=not holds)
    if (node.data, holds) in (("conditionaland", True), ("conditionalor", False)):
        return _derive(children[0], holds=holds) | _derive(children[1], holds=holds)
    if node.data == "relation" and children[0].data == "relation_eq" and holds:
        both = [children[0].children[0], children[1]]
        if all(side.data == "ident_arg" for side in both):
            return frozenset({frozenset(_write(side.children[1].children[0]) for side in both)})
    return frozenset()


def _write(node: Tree[Any]) -> str:
    if node.data == "member_dot":
        return f"{_write(node.children[0])}.{node.children[1]}"
    return str(node.children[0]) if node.data == "ident" else f"<{node.data}>"
