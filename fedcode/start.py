# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What all parties of a federation start a task from: one file, whose digest all have signed.

It is a safetensors file: reading it needs no torch and runs nothing. Beside the start files of the
tasks lies ``public.corpus`` (``fedcode.corpus.public``), which their vocabularies were made from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from safetensors import SafetensorError
from safetensors.numpy import load, save

from fedcode.agreement import Agreement, agree
from fedcode.budgets import calibrated
from fedcode.errors import ConfigError, RunError
from fedcode.federation import Federation
from fedcode.identity import Roster
from fedcode.signing import canonical
from fedcode.storage import write_atomically
from fedcode.strict import Count, Name, Strict
from fedcode.weights import Vector

PUBLIC = "public.corpus"
"""The file of the public corpus."""

SCHEMA = "fedcode/start/1"

_HEADER, _WEIGHTS, _FROZEN = "fedcode", "weights", "frozen/"
_LARGEST, _LONGEST_HEADER = 1 << 32, 1 << 20
_HINT = "make it again: fedcode prepare FEDERATION.toml --out DIR"

_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Header(Strict):
    """All but the tensors: one value, for the order of several would be left to chance."""

    form: Literal["fedcode/start/1"]
    task: Name
    settings: dict[str, Any]
    fingerprint: _Digest
    weights: Count
    public: _Digest


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """One task, ready to be trained.

    Attributes:
        task: its name.
        settings: the task's own.
        fingerprint: of the task, see ``Task.fingerprint``.
        public: digest of the public corpus that the task was made from.
        weights: what is trained, shape (d,).
        frozen: the network's other tensors, by name.
        content: the file's bytes.
    """

    task: str
    settings: Mapping[str, Any]
    fingerprint: str
    public: str
    weights: Vector
    frozen: Mapping[str, NDArray[np.float32]]
    content: bytes

    @classmethod
    def make(
        cls,
        task: str,
        settings: Mapping[str, Any],
        *,
        fingerprint: str,
        public: str,
        weights: Vector,
        frozen: Mapping[str, NDArray[np.float32]],
    ) -> Start:
        """A start from its parts; see the attributes."""
        header = {
            "form": SCHEMA,
            "task": task,
            "settings": dict(settings),
            "fingerprint": fingerprint,
            "weights": len(weights),
            "public": public,
        }
        tensors = {_WEIGHTS: weights, **{f"{_FROZEN}{name}": t for name, t in frozen.items()}}
        content = save(
            {name: np.ascontiguousarray(t, np.float32) for name, t in tensors.items()},
            metadata={_HEADER: canonical(header).decode()},
        )
        return cls(task, settings, fingerprint, public, weights, frozen, content)

    @property
    def digest(self) -> str:
        """SHA-256 of the file, in hexadecimal: what an agreement names."""
        return hashlib.sha256(self.content).hexdigest()

    def save(self, folder: Path) -> Path:
        """Writes ``TASK.safetensors``, all or nothing."""
        path = folder / file_of(self.task)
        write_atomically(path, self.content)
        return path

    @classmethod
    def load(cls, path: Path) -> Start:
        """Reads what :meth:`save` wrote.

        Raises:
            RunError: it is not that.
        """
        try:
            content = path.read_bytes() if path.stat().st_size <= _LARGEST else b""
        except OSError as error:
            raise RunError(f"{path} cannot be read", _HINT) from error
        try:
            return cls.decode(content)
        except RunError as error:
            raise RunError(f"{path}: {error}", _HINT) from error

    @classmethod
    def decode(cls, content: bytes) -> Start:
        """A start from a file's bytes, whoever sent them.

        Raises:
            RunError: they are none.
        """
        try:
            header = _header(content)
            tensors = load(content)
        except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise RunError("this is no start file of this version", _HINT) from error
        weights = tensors.pop(_WEIGHTS, np.zeros(0, np.float32))
        named = all(name.startswith(_FROZEN) for name in tensors)
        frozen = {name.removeprefix(_FROZEN): t for name, t in tensors.items()}
        if weights.shape != (header.weights,) or not named:
            raise RunError("the start file's tensors are not what it says", _HINT)
        if not all(np.isfinite(t).all() for t in (weights, *frozen.values())):
            raise RunError("the start file has weights that are not finite", _HINT)
        return cls(
            header.task,
            header.settings,
            header.fingerprint,
            header.public,
            weights,
            frozen,
            content,
        )


def file_of(task: str) -> str:
    """The name of a task's start file."""
    return f"{task}.safetensors"


def expected_agreement(
    federation: Federation, task: str, start: Start, roster: Roster
) -> Agreement:
    """What all members and the coordinator sign for a task: each computes it for itself.

    Args:
        federation: its settings, as its members know them.
        task: the task's name.
        start: the task's start file.
        roster: the members that take part.

    Raises:
        ConfigError: the start is of another task, or the roster of another federation.
    """
    settings = federation.task(task)
    if (start.task, dict(start.settings)) != (task, settings.model):
        raise ConfigError(f"the start file of {task} was made with other settings", _HINT)
    if roster.federation != federation.name:
        raise ConfigError("the roster is of another federation")
    others = set(roster.names) - {one.name for one in federation.members}
    if others:
        raise ConfigError(f"{min(others)} is no member of {federation.name}")
    return agree(
        federation,
        settings,
        fingerprint=start.fingerprint,
        start=start.digest,
        weights=len(start.weights),
        noise_multiplier=calibrated(federation).noise_multipliers[federation.tasks.index(settings)],
        roster=roster,
    )


def _header(content: bytes) -> _Header:
    """What stands before the tensors.

    Raises:
        ValueError: it is not of its form; so KeyError, TypeError, RecursionError.
    """
    size = int.from_bytes(content[:8], "little")
    if size > _LONGEST_HEADER:
        raise ValueError("too large")
    values = json.loads(content[8 : 8 + size])
    if not isinstance(values, dict):
        raise TypeError("no object")
    metadata = values.pop("__metadata__")
    if set(metadata) != {_HEADER} or any(one["dtype"] != "F32" for one in values.values()):
        raise ValueError("other tensors or words")
    return _Header.model_validate_json(metadata[_HEADER])
