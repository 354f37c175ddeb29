# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Members whose training is noise alone, and who keep what they released: to add it up again.

Takes the place of ``fedcode_client.training`` where processes are killed: it needs no torch.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import numpy as np

from fedcode.budgets import calibrated, permitted_rounds
from fedcode.privacy.noise import SecureGenerator
from fedcode.privacy.release import ClippedSum, GaussianMechanism
from fedcode.rounds.member import Member
from fedcode.trainer import LocalReport

SLOW = "slow"
"""A file of this name says how many seconds training takes."""


class Keeping:
    """Releases noise, other noise each time, and writes down the integers that are masked.

    Args:
        folder: gets a file a round.
        agreement: what is trained for.
    """

    def __init__(self, folder: Path, agreement) -> None:
        self.report = LocalReport()
        self._folder, self._policy = folder, agreement.policy
        self._lattice = agreement.lattice()

    def train(self, weights, receipt):
        mechanism = GaussianMechanism(self._policy, SecureGenerator(), receipt)
        for _ in range(receipt.steps):
            units = len(mechanism.sample(10))
            zero = np.zeros(self._policy.weights, np.float32)
            noised = mechanism.noised(ClippedSum(zero, self._policy.clipping_norm)).values
            mechanism.end_step(units)
        slow = self._folder / SLOW
        if slow.exists():
            time.sleep(float(slow.read_text(encoding="ascii")))
        release = mechanism.release(noised)
        path = self._folder / f"{receipt.round}.npy"
        assert not path.exists(), "trained twice for one round"
        np.save(path, release.term(self._lattice).values)
        return release


def member(folder, federation, signed, _files, ours, ledger, key, name, *, memory_mib=None):
    """As ``fedcode_client.training.member``; ``folder`` is bound by who puts this in its place."""
    signed.check()
    agreed = signed.agreement
    policy, account = agreed.policy, ledger.account(ours.assets[0])
    permitted = permitted_rounds(federation, federation.member(name), calibrated(federation))
    step = (policy.noise_multiplier, policy.sampling_rate, policy.steps_per_round)
    cost, trainer = account.budget.cost(*step), Keeping(folder, agreed)
    most = permitted[agreed.task] * cost.nano
    return Member(name, account.asset, agreed, cost, most, ledger, trainer, key)


def in_its_place(folder: Path) -> object:
    """A module that stands where ``fedcode_client.training`` is looked for."""

    class Module:
        pass

    made = Module()
    made.member = partial(member, folder)
    return made
