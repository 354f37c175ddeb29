# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The arms of a run that are done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fedcode.errors import RunError
from fedcode.storage import write_json

_HINT = "delete the folder and start the run again"


def save_result(folder: Path, name: str, result: dict[str, Any]) -> None:
    """Keeps what a finished job gave."""
    write_json(folder / f"{name}.json", result)


def load_result(folder: Path, name: str) -> dict[str, Any] | None:
    """What a finished job gave, or None.

    Raises:
        RunError: the file is damaged.
    """
    path = folder / f"{name}.json"
    if not path.exists():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"the checkpoint {path} is damaged", _HINT) from error
    if not isinstance(value, dict):
        raise RunError(f"the checkpoint {path} is damaged", _HINT)
    return value
