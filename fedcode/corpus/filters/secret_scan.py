# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Secrets as detect-secrets finds them, line by line: more kinds, more mistakes, and slow.

Its plugins are asked by themselves. Nothing is verified: that would send secrets over the network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from fedcode.corpus.filters.look import Block
from fedcode.corpus.filters.secret_patterns import FILTER
from fedcode.errors import ConfigError

_LONGEST_LINE = 2000
"""In characters: of what is longer, its parts; some of the plugins' patterns are slow."""


_VERIFYING = "detect_secrets.filters.common.is_ignored_due_to_verification_policies"
"""While it is not set, no plugin asks a server whether what it found is good."""


@dataclass(frozen=True, slots=True)
class _Scan:
    plugins: Sequence[Any]
    doubts: Sequence[Callable[[str], bool]]


def check_installed() -> None:
    """Whether there is detect-secrets.

    Raises:
        ConfigError: there is not.
    """
    _scan()


def blocks(text: str) -> list[Block]:
    """The lines of a text in which detect-secrets finds a secret."""
    scan = _scan()
    found = []
    for number, line in enumerate(text.split("\n"), start=1):
        for begin in range(0, len(line), _LONGEST_LINE):
            part = line[begin : begin + _LONGEST_LINE]
            found += [
                Block(FILTER, f"deep-{kind}", number, number) for kind in _in_line(scan, part)
            ]
    return list(dict.fromkeys(found))


def _in_line(scan: _Scan, line: str) -> list[str]:
    kinds = []
    for plugin in scan.plugins:
        found = [secret.secret_value or "" for secret in plugin.analyze_line("", line)]
        if any(not any(doubt(secret) for doubt in scan.doubts) for secret in found):
            kinds.append(str(plugin.secret_type).lower().replace(" ", "-"))
    return kinds


@cache
def _scan() -> _Scan:
    try:
        from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
        from detect_secrets.filters import heuristic
        from detect_secrets.settings import get_settings
    except ImportError as error:
        raise ConfigError(
            "deep_secrets needs detect-secrets", "pip install 'fedcode[deep-secrets]'"
        ) from error
    get_settings().disable_filters(_VERIFYING)
    left_out = {"Public IP (ipv4)"}
    kinds: dict[str, Any] = get_mapping_from_secret_type_to_class()
    plugins = [made() for name, made in sorted(kinds.items()) if name not in left_out]
    doubts = (
        heuristic.is_sequential_string,
        heuristic.is_potential_uuid,
        heuristic.is_templated_secret,
        heuristic.is_prefixed_with_dollar_sign,
        heuristic.is_not_alphanumeric_string,
    )
    return _Scan(plugins, doubts)
