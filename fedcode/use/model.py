# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A model's folder becomes a task and its network, if the card is about these very files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from fedcode.card import Card
from fedcode.corpus import read_public
from fedcode.errors import ConfigError, RunError, TrainingError
from fedcode.start import PUBLIC
from fedcode.task import gradients_of
from fedcode.tasks import make
from fedcode.training import network
from fedcode.weights import load_tensors


@dataclass(frozen=True, slots=True)
class Model:
    """A network that is ready to be used.

    Attributes:
        card: what is known of it.
        task: what reads records and asks the network.
        network: with the card's weights, on the device that there is.
    """

    card: Card
    task: Any
    network: nn.Module


def load(folder: Path, *tasks: str) -> Model:
    """The model in ``folder``.

    Args:
        folder: as a result has it in ``models/TASK``.
        tasks: of which it may be.

    Raises:
        ConfigError: it is of another task, or its settings are unknown.
        RunError: a file is not there, or not the one that the card names.
    """
    card = Card.load(folder)
    if card.task not in tasks:
        raise ConfigError(
            f"{folder} is a model of {card.task}", f"name one of {' or '.join(tasks)}"
        )
    weights = load_tensors(card.checked_weights(folder))
    task = make(card.task, card.settings, read_public(folder / PUBLIC, card.public))
    gradients = gradients_of(task)
    if gradients is None or task.fingerprint() != card.fingerprint:
        raise _other(folder)
    model = gradients.build()
    try:
        network.load(model, weights)
    except TrainingError as error:
        raise _other(folder) from error
    if not all(np.isfinite(values).all() for values in weights.values()):
        raise RunError(f"{folder} has weights that are not finite", "train it again")
    return Model(card, task, model.to(network.device()).eval())


def _other(folder: Path) -> RunError:
    return RunError(
        f"the model in {folder} was made by another version of fedcode",
        "use that version, or train it again",
    )
