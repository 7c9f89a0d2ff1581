"""Every API server with CEL takes the rules of the definitions: checked against their schemas, since the servers here have none."""

from typing import Any

import pytest
from api.cel_checking import MOST_DEFINITION_COST, MOST_RULE_COST, RefusedRuleError, check_rule, list_rules
from api.test_crd import DEFINITIONS, schema_of

from oarlock_api.rule import name_in_cel

RULES = [
    (f"{definition['spec']['names']['kind']}{path}", schema, rule, times)
    for definition in DEFINITIONS
    for path, schema, rule, times in list_rules(schema_of(definition))
]


@pytest.mark.parametrize(
    ("schema", "rule", "times"),
    [each[1:] for each in RULES],
    ids=[f"{path}-{number}" for number, (path, *_) in enumerate(RULES)],
)
def test_rule_is_taken_and_costs_little(schema: dict[str, Any], rule: dict[str, str], times: int) -> None:
    assert check_rule(rule["rule"], schema) * times <= MOST_RULE_COST / 2
    assert "\n" not in rule["message"]
    assert len(rule["message"]) <= 2048


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda definition: definition["spec"]["names"]["kind"])
def test_all_rules_of_a_definition_together_cost_little(definition: dict[str, Any]) -> None:
    rules = list(list_rules(schema_of(definition)))

    assert len(rules) > 10
    assert sum(check_rule(rule["rule"], schema) * times for _, schema, rule, times in rules) <= MOST_DEFINITION_COST / 2


TEXT = {"type": "string", "maxLength": 10}
SCHEMA = {
    "type": "object",
    "required": ["always"],
    "properties": {
        "always": TEXT,
        "filled": {"type": "integer", "default": 1},
        "some": TEXT,
        "package": TEXT,
        "a-b": TEXT,
        "share": {"type": "number"},
        "texts": {"type": "array", "maxItems": 10, "items": {"type": "string"}},
        "inner": {"type": "object", "properties": {"deep": TEXT}},
    },
}


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("has(self.package)", "no field that CEL calls package"),
        ("has(self.a__dash__c)", "no field that CEL calls a__dash__c"),
        ("self.some == 'x'", "self.some may be absent"),
        ("has(self.inner) || self.inner.deep == 'x'", "self.inner may be absent"),
        ("has(self.inner.deep)", "self.inner may be absent"),
        ("has(self.inner) && self.inner.deep == 'x'", "self.inner.deep may be absent"),
        (
            "has(self.some) == has(oldSelf.some) && (has(self.some) || oldSelf.some == 'x')",
            "oldSelf.some may be absent",
        ),
        ("self.always == 1", "both sides of an operator are of one type"),
        ("!has(self.share) || self.share < 1", "both sides of an operator are of one type"),
        ("self.always in [1]", "asks a list of the same type"),
        ("!has(self.texts) || self.texts.isSorted()", "no function isSorted"),
        ("quantity(self.always) == quantity('1')", "no function quantity"),
        ("self.always.matches('x')", "no function matches"),
        ("self.filled", "a rule is true or false"),
        ("other.always == 'x'", "nothing is called other"),
    ],
)
def test_rule_is_refused_that_some_server_would_not_take(rule: str, why: str) -> None:
    with pytest.raises(RefusedRuleError, match=why):
        check_rule(rule, SCHEMA)


@pytest.mark.parametrize(
    "rule",
    [
        "has(self.__package__) && self.__package__ != self.always",
        "!has(self.a__dash__b) || self.a__dash__b in ['x', 'y']",
        "self.filled == 1 && self.always.startsWith('x')",
        "!has(self.inner) || !has(self.inner.deep) || self.inner.deep + '/' == 'x/'",
        "has(self.some) ? self.some == 'x' : self.always == 'x'",
        "has(self.some) == has(oldSelf.some) && (!has(self.some) || self.some == oldSelf.some)",
        "!has(self.share) || self.share < 1.0",
    ],
)
def test_rule_is_taken_that_asks_before_it_looks(rule: str) -> None:
    assert 0 < check_rule(rule, SCHEMA) < 100


def test_rule_that_compares_texts_without_bounds_in_a_loop_costs_too_much() -> None:
    loop = "!has(self.texts) || self.texts.all(one, self.texts.exists_one(other, one == other))"

    assert check_rule(loop, SCHEMA) > MOST_RULE_COST


def test_names_are_spelled_as_servers_spell_them() -> None:
    names = {"package": "__package__", "a-b": "a__dash__b", "x/y.z": "x__slash__y__dot__z", "a__b": "a__underscores__b"}

    assert {name: name_in_cel(name) for name in names} == names
