"""What every object on the wire has in common: camelCase, frozen, unknown fields refused, docstrings as descriptions."""

import json
from typing import Any, Self

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class WireModel(BaseModel):
    """A part of a manifest or of a status."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )

    def to_wire(self) -> dict[str, Any]:
        """Return the JSON form: camelCase keys, absent fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    @classmethod
    def from_wire(cls, wire: Any) -> Self:
        """Read the JSON form.

        Raises:
            pydantic.ValidationError: if `wire` does not fit; `oarlock_api.validation` turns it into findings.
        """
        # Strict, and by way of JSON: "0.1" is no number to an API server either, while enumerations are texts on the wire.
        return cls.model_validate_json(json.dumps(wire, default=str), strict=True, by_alias=True, by_name=False)


class OpenModel(WireModel):
    """A part of a status that a newer operator may have written: unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore")
