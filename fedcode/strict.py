# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Files that people write: TOML, typed, unknown keys are errors."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, GetPydanticSchema, ValidationError
from pydantic_core import CoreSchema
from pydantic_core.core_schema import chain_schema, custom_error_schema, str_schema

from fedcode.errors import ConfigError


def formed(pattern: str, words: str) -> GetPydanticSchema:
    """For annotations: text that a regular expression matches; ``words`` say what it asks for."""

    def schema(_source: Any, _handler: Any) -> CoreSchema:
        matched = str_schema(pattern=pattern)
        said = custom_error_schema(matched, "form", custom_error_message=f"should be {words}")
        return chain_schema([str_schema(), said])

    return GetPydanticSchema(schema)


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
Share = Annotated[float, Field(gt=0, le=1, strict=True)]
Fraction = Annotated[float, Field(ge=0, lt=1, strict=True)]
Probability = Annotated[float, Field(gt=0, lt=1, strict=True)]
Amount = Annotated[float, Field(ge=0, strict=True)]
Count = Annotated[int, Field(ge=1, strict=True)]
Name = Annotated[
    str,
    formed(
        r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        "1 to 64 of A-Z a-z 0-9 . _ -, a letter or digit first",
    ),
]
Key = Annotated[str, formed(r"^[0-9a-f]{64}$", "64 hexadecimal digits")]

Purpose = Annotated[
    str, formed(r"^\P{C}{1,200}$", "1 to 200 characters, and none of them a control character")
]
"""What something is for, word for word: no control characters."""


class Strict(BaseModel):
    """Frozen, typed, no unknown keys; a number in quotes, or true, is no number."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


M = TypeVar("M", bound=Strict)

KEYS = "docs/federation.md lists every key"
"""A hint."""


def read(path: Path) -> str:
    """The text of a file that a person wrote."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read", "is it a UTF-8 TOML file?") from error


def parsed(model: type[M], text: str, name: str, hint: str = KEYS) -> M:
    """TOML as a ``model``; see :func:`checked`."""
    try:
        return checked(model, tomllib.loads(text), name, hint)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name} is not TOML: {error}", "check the line that is named") from error


def checked(model: type[M], values: Mapping[str, Any], name: str, hint: str = KEYS) -> M:
    """``values`` as a ``model``.

    Raises:
        ConfigError: what is wrong, in one line, with the key's place.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f"{part}." for part in first["loc"])[:-1]
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            message = "unknown key"
        if first["type"] == "tuple_type":
            message = "should be a list"
        if first["loc"][:1] == ("filters",):
            hint = "docs/filters.md lists every key of [filters]"
        if first["loc"][:1] == ("data_tests",):
            hint = "docs/data.md lists every key of [data_tests]"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise ConfigError(
            ": ".join(filter(None, (name, place, f"{message[0].lower()}{message[1:]}{more}"))), hint
        ) from error
