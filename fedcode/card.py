# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What stands beside a trained model: what it is, how well it does, and what protects whose code.

A model is a folder: ``weights.safetensors``, ``public.corpus`` (what its vocabulary is made of),
``card.json``, and the card as a page. The card names the digests of the other two: weights without
their card, or with another one, are not loaded.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field

from fedcode.errors import ConfigError, RunError
from fedcode.storage import write_json
from fedcode.strict import Key, Name, Purpose, Strict, checked

MODELS = "models"
"""The folder of a result's models: one folder for each task."""

CARD, PAGE, WEIGHTS = "card.json", "card.html", "weights.safetensors"
_LONGEST = 1 << 20


class Protection(Strict):
    """What differential privacy the training had.

    Attributes:
        unit: what the guarantee adds or removes.
        epsilon: the most that a member spent, over all models of the federation.
        task_epsilon: the same of this model's rounds alone.
        delta: of the guarantee.
        adjacency: in words.
        assumptions: what must hold for ε to mean what it says.
    """

    unit: str
    epsilon: float
    task_epsilon: float | None
    delta: float
    adjacency: str
    assumptions: tuple[str, ...]


class Measured(Strict):
    """A figure that was measured.

    Attributes:
        key: in :attr:`Row.figures`.
        title: what it is.
        lower_is_better: the direction of improvement.
        digits: digits after the point that are worth printing.
    """

    key: str
    title: str
    lower_is_better: bool
    digits: int = Field(ge=0, le=9)


class Row(Strict):
    """This model, or what it is compared with.

    Attributes:
        title: of the row.
        own: whether it is this model.
        epsilon: the most that a member spent for it; None without privacy.
        figures: by metric key; None where one is not defined.
    """

    title: str
    own: bool
    epsilon: float | None
    figures: dict[str, float | None]


class Card(Strict):
    """One model's card.

    Attributes:
        task: its name.
        title: of the task.
        settings: the task's own.
        fingerprint: of the task, see ``Task.fingerprint``.
        weights: SHA-256 of ``weights.safetensors``.
        public: digest of ``public.corpus``.
        trained: number of weights that were trained on members' code.
        federation: its name.
        purpose: that all members have signed.
        created: UTC, ISO 8601.
        version: of fedcode.
        members: how many organizations trained.
        simulated: whether all of it ran on one machine.
        protection: None for a training without privacy.
        labels: where labels came from; empty where the task needs none.
        unseen: how many organizations it was measured on, none of which trained.
        metrics: what was measured; the first leads.
        rows: this model and what it is compared with; empty if nothing was measured.
        intended: what it is for.
        limits: what it is not for, or cannot do.
    """

    form: Literal["fedcode/model/1"] = "fedcode/model/1"
    task: Name
    title: str
    settings: dict[str, Any]
    fingerprint: Key
    weights: Key
    public: Key
    trained: int
    federation: Name
    purpose: Purpose
    created: str
    version: str
    members: int
    simulated: bool
    protection: Protection | None
    labels: str
    unseen: int
    metrics: tuple[Measured, ...]
    rows: tuple[Row, ...]
    intended: str
    limits: tuple[str, ...]

    @property
    def own(self) -> Row | None:
        """What this model reached; None if it was not measured."""
        return next((row for row in self.rows if row.own), None)

    def plain(self) -> dict[str, Any]:
        """What ``card.json`` holds."""
        return self.model_dump(mode="json")

    def save(self, folder: Path) -> None:
        """Writes ``card.json``."""
        write_json(folder / CARD, self.plain())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The card of the model in ``folder``.

        Raises:
            RunError: there is none, or it is not of this version.
        """
        path = folder / CARD
        try:
            text = path.read_text(encoding="utf-8") if path.stat().st_size <= _LONGEST else ""
        except (OSError, UnicodeDecodeError) as error:
            raise RunError(
                f"{folder} has no card: its weights are not loaded",
                f"name a model's folder, as RESULT/{MODELS}/TASK",
            ) from error
        try:
            return checked(cls, json.loads(text), str(path))
        except (ValueError, TypeError, RecursionError, ConfigError) as error:
            raise RunError(
                f"{path} is no card of this version", "make the model again, or fetch it again"
            ) from error

    def checked_weights(self, folder: Path) -> Path:
        """The file of the weights that the card is about.

        Raises:
            RunError: it is not there, or another one.
        """
        path = folder / WEIGHTS
        try:
            found = digest_of_file(path)
        except OSError as error:
            raise RunError(f"{path} cannot be read", "is the model whole?") from error
        if found != self.weights:
            raise RunError(
                f"{path} is not the file that the card names: it is not loaded",
                "fetch the model again, with its card",
            )
        return path


def digest_of_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
