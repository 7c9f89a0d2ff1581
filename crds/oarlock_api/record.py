"""The form in which agents and trainers report: dataclasses as JSON, read by whoever knows an older or a newer one.

Standard library only, as the contract whose reports these are. Pure.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, Self


class Record:
    """A report as JSON: camelCase keys, unknown keys ignored on reading, absent values left out on writing."""

    def to_wire(self) -> dict[str, Any]:
        return _camelise(asdict(self))  # type: ignore[call-overload]  # every subclass is a dataclass

    def to_json(self) -> str:
        return json.dumps(self.to_wire(), separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Self:
        known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
        values = {_snake(key): value for key, value in wire.items()}
        return cls(**{key: value for key, value in values.items() if key in known})


def _camelise(record: Mapping[str, Any]) -> dict[str, Any]:
    return {_camel(key): value for key, value in record.items() if value is not None}


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part.title() for part in tail)


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
