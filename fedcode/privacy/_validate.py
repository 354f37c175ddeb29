# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Checks of numbers: the keyword's name becomes the message.

``positive(noise_multiplier=0.0)`` raises "noise_multiplier must be a number above 0, not 0.0".
"""

from __future__ import annotations

import math

from fedcode.errors import ConfigError

_LONGEST = 200


def positive(hint: str = "", /, **values: float) -> None:
    """Each value is finite and above 0."""
    for name, value in values.items():
        if not (_number(value) and math.isfinite(value) and value > 0):
            raise ConfigError(f"{name} must be a number above 0, not {value}", hint)


def rate(hint: str = "", /, **values: float) -> None:
    """Each value is above 0 and at most 1."""
    for name, value in values.items():
        if not (_number(value) and 0 < value <= 1):
            raise ConfigError(f"{name} must be above 0 and at most 1, not {value}", hint)


def probability(hint: str = "", /, **values: float) -> None:
    """Each value is strictly between 0 and 1."""
    for name, value in values.items():
        if not (_number(value) and 0 < value < 1):
            raise ConfigError(f"{name} must be between 0 and 1, not {value}", hint)


def count(hint: str = "", /, **values: int) -> None:
    """Each value is an integer from 1."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(f"{name} must be an integer from 1, not {value}", hint)


def text(hint: str = "", /, **values: str) -> None:
    """Each value is 1 to 200 characters that can be printed."""
    for name, value in values.items():
        if not (isinstance(value, str) and 0 < len(value) <= _LONGEST and value.isprintable()):
            raise ConfigError(f"{name} must be a short text, not {value!r:.50}", hint)


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
