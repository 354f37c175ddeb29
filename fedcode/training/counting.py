# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""One noised sum of counts, clipped once per unit: how tasks without gradients are trained.

As a gradient counts have the other sign: what is descended is -<counts, weights>.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from fedcode.errors import ConfigError
from fedcode.federation import TrainingSettings
from fedcode.privacy.policy import PrivacyPolicy
from fedcode.privacy.receipt import Receipt
from fedcode.privacy.release import ClippedSum, GaussianMechanism, Release
from fedcode.record import Record, units
from fedcode.task import CountTask
from fedcode.trainer import LocalReport
from fedcode.training.clipping import room
from fedcode.training.private import NoiseOf, clip
from fedcode.training.sums import metric_sums
from fedcode.weights import Vector


def check_counting(settings: TrainingSettings) -> None:
    """Refuses a kind, a clipping or a metric that sums of counts do not have."""
    if settings.kind != "gradient-sum":
        raise ConfigError("counts take no local steps", 'set training.kind = "gradient-sum"')
    if settings.clipping != "flat":
        raise ConfigError(
            f"counts cannot be clipped {settings.clipping}", 'set training.clipping = "flat"'
        )
    if "loss" in settings.metrics:
        raise ConfigError("counts have no loss", 'take "loss" out of training.metrics')


class CountTrainer:
    """Adds up one organization's clipped counts, with noise.

    Args:
        task: counts one record.
        records: the organization's training records.
        settings: the member's half of a round.
        policy: what the receipt pays for.
        noise: gives the randomness of the round that a receipt paid for.

    Raises:
        ConfigError: another kind than ``gradient-sum``, another clipping than ``flat``, or a loss.
    """

    def __init__(
        self,
        task: CountTask,
        records: Iterable[Record],
        settings: TrainingSettings,
        policy: PrivacyPolicy,
        noise: NoiseOf,
    ) -> None:
        check_counting(settings)
        self.units = units(records, policy.unit)
        policy.check_population(len(self.units))
        self.report = LocalReport()
        self._task = task
        self._settings = settings
        self._policy = policy
        self._noise = noise

    def train(self, weights: Vector, receipt: Receipt) -> Release:
        """The noised sum over the sampled units, then of the metrics, whatever ``weights`` are."""
        mechanism = GaussianMechanism(self._policy, self._noise(receipt), receipt)
        step, records, clipped = self._step(mechanism, weights.size)
        noised = [mechanism.noised(ClippedSum(p, self._policy.clipping_norm)) for p in step]
        mechanism.end_step(clipped)
        self.report = LocalReport(None, records)
        return mechanism.release_sum(noised)

    def _step(
        self, mechanism: GaussianMechanism, size: int
    ) -> tuple[list[NDArray[np.float32] | NDArray[np.float64]], int, int]:
        """A step's sum without its noise: counts (size,), metrics; and records and units in it."""
        most = self._policy.clipping_norm * room(len(self._settings.metrics))
        total, records, clipped = np.zeros(size, np.float32), 0, 0
        for index in mechanism.sample(len(self.units)):
            unit = self.units[index]
            part = mechanism.subset(len(unit), self._settings.records_per_unit)
            where, counts = self._counts([unit[i] for i in part])
            total[where] -= clip(counts, most)
            records, clipped = records + len(part), clipped + 1
        if not self._settings.metrics:
            return [total], records, clipped
        return [total, metric_sums(self._settings, torch.zeros(clipped))], records, clipped

    def _counts(self, records: Sequence[Record]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Coordinates (unique, ascending) and summed counts of one unit's records."""
        found = [self._task.counts(record) for record in records]
        if len(found) == 1:
            return found[0]
        every = np.concatenate([where for where, _ in found])
        where, place = np.unique(every, return_inverse=True)
        summed = np.bincount(place, np.concatenate([counts for _, counts in found]), len(where))
        return where, summed.astype(np.float32)
