# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""One noised sum of clipped counts: how tasks without gradients are trained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedcode.privacy.policy import PrivacyPolicy
from fedcode.privacy.receipt import Receipt
from fedcode.privacy.release import ClippedSum, GaussianMechanism, Release
from fedcode.record import Record
from fedcode.task import CountTask
from fedcode.trainer import LocalReport
from fedcode.training.private import NoiseOf, clip
from fedcode.weights import Vector


class CountTrainer:
    """Adds up one organization's clipped counts, with noise.

    Args:
        task: counts one record.
        records: the organization's training records.
        policy: what the receipt pays for.
        noise: gives the randomness of the round that a receipt paid for.
    """

    def __init__(
        self,
        task: CountTask,
        records: Sequence[Record],
        policy: PrivacyPolicy,
        noise: NoiseOf,
    ) -> None:
        policy.check_population(len(records))
        self.report = LocalReport()
        self._task = task
        self._records = records
        self._policy = policy
        self._noise = noise

    def train(self, weights: Vector, receipt: Receipt) -> Release:
        """The noised sum over the sampled records, shape (d,), whatever ``weights`` are."""
        mechanism = GaussianMechanism(self._policy, self._noise(receipt), receipt)
        total = np.zeros(weights.shape, np.float32)
        seen = 0
        for _ in range(self._policy.steps_per_round):
            step = np.zeros(weights.shape, np.float32)
            for index in mechanism.sample(len(self._records)):
                where, counts = self._task.counts(self._records[index])
                step[where] += clip(counts, self._policy.clipping_norm)
                seen += 1
            total += mechanism.noised(ClippedSum(step, self._policy.clipping_norm)).values
            mechanism.end_step()
        self.report = LocalReport(None, seen)
        return mechanism.release(total)
