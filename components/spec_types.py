"""What the models of the spec are made of: the strict base and the kinds of values."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

_NAME = r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$"


def _is_name(value: str) -> str:
    if not re.fullmatch(_NAME, value):
        raise ValueError(f"must be 1 to 40 of a-z, 0-9 and inner hyphens, got {value[:60]!r}; rename it")
    return value


def _is_encoding(value: str) -> str:
    try:
        "a".encode(value)
    except (LookupError, ValueError):
        raise ValueError(f"unknown encoding {value[:60]!r}; write one such as utf-8, latin-1 or cp1252") from None
    return value


Name = Annotated[str, AfterValidator(_is_name), Field(json_schema_extra={"pattern": _NAME})]
Text = Annotated[str, Field(min_length=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[int, Field(ge=1)]
Above0 = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
SampleRate = Annotated[int, Field(ge=1_000, le=384_000)]
Encoding = Annotated[str, AfterValidator(_is_encoding)]


class Strict(BaseModel):
    """No unknown key, no silent conversion, no change after reading; docstrings of fields are their descriptions."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
