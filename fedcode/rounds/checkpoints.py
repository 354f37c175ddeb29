# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Where the rounds of a task can be gone on with: all that the next one depends on, in one file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fedcode.errors import RunError
from fedcode.rounds.coordinator import State
from fedcode.storage import write_atomically

_WEIGHTS, _AVERAGE = "weights", "average"
_HINT = "delete the folder and start the run again"


def save_state(folder: Path, name: str, state: State, rounds: list[dict[str, Any]]) -> None:
    """Writes one file, whole or not at all: weights, moments, average, and lines of the rounds."""
    header = {
        "round": str(state.round),
        "rounds": json.dumps(rounds, allow_nan=False),
        "spent": json.dumps(sorted(state.spent)),
    }
    tensors = {_WEIGHTS: state.weights, **state.moments}
    if state.average is not None:
        tensors[_AVERAGE] = state.average
    write_atomically(folder / f"{name}.state", save(tensors, metadata=header))


def load_state(folder: Path, name: str) -> tuple[State | None, list[dict[str, Any]]]:
    """What :func:`save_state` wrote last, or nothing.

    Raises:
        RunError: the file is damaged.
    """
    path = folder / f"{name}.state"
    if not path.exists():
        return None, []
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata()
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        weights, average = tensors.pop(_WEIGHTS), tensors.pop(_AVERAGE, None)
        spent = frozenset(json.loads(header["spent"]))
        state = State(int(header["round"]), weights, tensors, average, spent)
        return state, json.loads(header["rounds"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"the checkpoint {path} is damaged", _HINT) from error
