# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""`belief-1`, `belief-2`, `belief-3`: the layers of a deep belief network, one after the other.

Each trains one layer's Boltzmann machine on what the layers below give, and needs no labels.

Source: Hinton, Osindero, Teh 2006, doi:10.1162/neco.2006.18.7.1527.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from fedcode.errors import ConfigError
from fedcode.models.belief import DeepBelief
from fedcode.record import Corpus, Record, SourceFile
from fedcode.task import Labels, Metric, Metrics
from fedcode.tasks.belief import (
    KINDS,
    TOGETHER,
    Batch,
    Belief,
    BeliefSettings,
    Example,
    Values,
    public_means,
)


class LayerTask(Belief):
    """Trains one layer's Boltzmann machine, without labels."""

    settings: BeliefSettings
    layer: int
    metrics: Sequence[Metric] = (
        Metric("reconstruction", "squared error of a unit", lower_is_better=True, digits=4),
    )
    labels: Labels = "none"

    @classmethod
    def make(cls, settings: Mapping[str, Any], public: Corpus) -> Self:
        """See the base; the layer must be there."""
        task = super().make(settings, public)
        if cls.layer >= len(task.settings.hidden):
            raise ConfigError(
                f"{cls.name} trains layer {cls.layer + 1}, and hidden names "
                f"{len(task.settings.hidden)}",
                "name more widths in model.hidden, or leave the task out",
            )
        return task

    def examples(self, records: Sequence[Record]) -> Sequence[Example]:
        """One for each function or class.

        The draws of its hidden units are made from the record alone, and stay: with others in each
        step, what it adds to a step would depend on its batch.
        """
        width = self.settings.hidden[self.layer]
        made = (self.encode(record) for record in records if record.kind in KINDS)
        return [Example(visible, 0, _draws(visible, width)) for visible in made]

    def losses(self, model: nn.Module, batch: Batch) -> Tensor:
        """Contrastive divergence over the number of visible units, shape (batch,)."""
        batch = batch.to(next(model.parameters()).device)
        if not isinstance(model, DeepBelief):
            raise TypeError("a DeepBelief was expected")
        return model.divergence(batch.visible, self.layer, batch.draws)

    def public_steps(self, public: Sequence[SourceFile], batch: int) -> int:
        """Steps of one pass over the public functions."""
        return math.ceil(len(_of_kinds(public)) / batch)

    def public_losses(
        self, model: nn.Module, public: Sequence[SourceFile], batch: int, order: np.random.Generator
    ) -> Iterator[Tensor]:
        """Mean losses of the public functions."""
        yield from public_means(self, model, self.examples(_of_kinds(public)), batch, order)

    def measure(self, model: nn.Module, files: Sequence[SourceFile]) -> Metrics:
        """How far records are from what the layer makes of them; none where there is no record."""
        model.eval()
        if not isinstance(model, DeepBelief):
            raise TypeError("a DeepBelief was expected")
        errors, where = [], model.head.weight.device
        records = _of_kinds(files)
        for start in range(0, len(records), TOGETHER):
            rows = np.stack([self.encode(r) for r in records[start : start + TOGETHER]])
            with torch.inference_mode():
                v = model.below(torch.from_numpy(rows).to(where), self.layer)
                errors.append((model.reconstructed(v, self.layer) - v).square().mean(1).cpu())
        return {"reconstruction": float(torch.cat(errors).mean())} if errors else {}

    def baselines(
        self, train: Sequence[SourceFile], test: Mapping[str, Sequence[SourceFile]]
    ) -> Mapping[str, Mapping[str, Metrics]]:
        """Every unit at its mean over everybody's records, without privacy."""
        rows = [self.encode(r) for r in _of_kinds(train)] if self.layer == 0 else []
        if not rows:
            return {}
        mean = np.mean(rows, axis=0)
        found: dict[str, Metrics] = {}
        for name, files in test.items():
            apart = [np.square(self.encode(r) - mean).mean() for r in _of_kinds(files)]
            found[name] = {"reconstruction": float(np.mean(apart))} if apart else {}
        return {"every unit at its mean, no privacy": found}


class FirstLayer(LayerTask):
    """The lowest layer."""

    name = "belief-1"
    layer = 0


class SecondLayer(LayerTask):
    """The second layer, on what the first gives."""

    name = "belief-2"
    layer = 1


class ThirdLayer(LayerTask):
    """The third layer, on what the second gives."""

    name = "belief-3"
    layer = 2


def _draws(visible: Values, width: int) -> Values:
    seed = int.from_bytes(hashlib.sha256(visible.tobytes()).digest()[:8], "big")
    return np.random.default_rng(seed).random(width, dtype=np.float32)


def _of_kinds(files: Sequence[SourceFile]) -> list[Record]:
    return [record for file in files for record in file.records if record.kind in KINDS]
