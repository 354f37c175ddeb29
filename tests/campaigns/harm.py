# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""How far one harmful member of twelve moves the released weights, in each mode.

python -m tests.campaigns.harm [SEEDS]

Members pull weights, all the same way, by clipped and noised steps. What is printed is the distance
between the weights after six rounds with and without the attack, over how far the honest ones went.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from statistics import median

import numpy as np

sys.path += [str(Path(__file__).parents[1] / name) for name in ("federation", "unit")]

import few_numbers
from few_numbers import POLICY, START, WEIGHTS, Federation, PullTrainer, agreement_of, read

from fedcode.federation import AggregationSettings, TrainingSettings
from fedcode.privacy.release import ClippedSum, GaussianMechanism
from fedcode.privacy.seeded import SeededGenerator
from fedcode.simulation.identities import key_of
from fedcode.wire import ReceivedMasked, ReceivedUpdate, attested, sign

NAMES = tuple("abcdefghijkl")
HARMFUL = "c"
TARGET = 3.0
MODES = {
    "secagg": AggregationSettings(mode="secagg"),
    "secagg-groups, median of 3": AggregationSettings(mode="secagg-groups", rule="median"),
    "open-robust, trimmed mean": AggregationSettings(mode="open-robust", rule="trimmed-mean"),
    "open-robust, krum": AggregationSettings(mode="open-robust", rule="krum"),
    "open-robust, centred clipping": AggregationSettings(
        mode="open-robust", rule="centred-clipping", radius=0.05
    ),
}


class Pulling(PullTrainer):
    """Noise of its own for each member and round; then what an attack makes of the change."""

    def __init__(self, seed: int, factor: float = 1.0, full: float | None = None) -> None:
        super().__init__(TARGET)
        self.seed, self.factor, self.full = seed, factor, full

    def released(self, weights, receipt, noise):
        """See PullTrainer."""
        noise = SeededGenerator(self.seed, receipt.round)
        mechanism = GaussianMechanism(POLICY, noise, receipt)
        units = len(mechanism.sample(100))
        pull = np.float32(0.3) * (self.target - weights)
        pull *= np.float32(POLICY.clipping_norm / np.linalg.norm(pull))
        noised = mechanism.noised(ClippedSum(pull, POLICY.clipping_norm)).values
        mechanism.end_step(units)
        change = noised * np.float32(0.3 * self.factor)
        if self.full is not None:
            change = np.full(WEIGHTS, -self.full, np.float32)
        self.changes.append(change)
        return mechanism.release(change)


def forged(federation: Federation, make) -> None:
    """What the harmful member sends in place of its numbers, signed by it."""
    honest = federation.members[HARMFUL].answer

    def answer(data: bytes) -> bytes:
        sent = honest(data)
        said = read(sent)
        if isinstance(said, (ReceivedMasked, ReceivedUpdate)):
            object.__setattr__(said, "values", make(said.values))
            object.__setattr__(said, "digest", "")
            said = sign(said, key_of(few_numbers.SEED, HARMFUL))
            return attested(said) + said.values.tobytes()
        return sent

    federation.ways[HARMFUL] = answer


def random_bits(values):
    """Any number that four bytes hold."""
    if values.dtype == np.float32:
        return np.full(WEIGHTS, -3e38, np.float32)
    return np.random.default_rng(1).integers(0, 1 << 32, WEIGHTS, dtype=np.uint32)


def nan(values):
    """No number; where numbers are integers, the same bits."""
    found = np.full(WEIGHTS, np.nan, np.float32)
    return found if values.dtype == np.float32 else found.view(np.uint32)


ATTACKS = ("none", "silent", "sign flipped", "× 1000", "all the lattice holds", "any bits", "NaN",
           "replayed")  # fmt: skip


def weights_after(aggregation: AggregationSettings, attack: str, seed: int):
    """The weights, and how many of the rounds had a total or a rule's result."""
    training = TrainingSettings(sampling_rate=0.5, clipping_norm=0.1, nominal_batch=4)
    agreement = agreement_of(roster=NAMES, training=training)
    agreement = replace(agreement, aggregation=aggregation)
    factor = {"sign flipped": -1.0, "× 1000": 1000.0}.get(attack, 1.0)
    full = None
    if attack == "all the lattice holds":
        lattice = agreement.lattice()
        full = lattice.limit * lattice.blocks[0][1] * 0.999
    trainers = {name: Pulling(100 * seed + n) for n, name in enumerate(NAMES)}
    trainers[HARMFUL] = Pulling(100 * seed + 50, factor, full)
    federation = Federation(agreement, trainers=trainers)
    if attack == "silent":
        federation.ways[HARMFUL] = lambda _data: b""
    if attack in ("any bits", "NaN"):
        forged(federation, random_bits if attack == "any bits" else nan)
    if attack == "replayed":
        replay(federation)
    states, outcomes = federation.run()
    return states[-1].weights, sum(one.changed for one in outcomes), outcomes


def replay(federation: Federation) -> None:
    """The first thing that it ever said of each kind, for ever."""
    honest, said = federation.members[HARMFUL].answer, {}

    def answer(data: bytes) -> bytes:
        kind = data[9:10]
        if kind not in said:
            said[kind] = honest(data)
        return said[kind]

    federation.ways[HARMFUL] = answer


@cache
def without(aggregation: AggregationSettings, seed: int):
    """The same without an attack."""
    return weights_after(aggregation, "none", seed)


def moved(aggregation: AggregationSettings, attack: str, seed: int) -> tuple[float, int, str]:
    """How far, in how many rounds, and what became of the harmful member."""
    honest, _, _ = without(aggregation, seed)
    found, rounds, outcomes = weights_after(aggregation, attack, seed)
    way = np.linalg.norm(honest - START)
    fates = sorted({one.refusals.get(HARMFUL, "in") for one in outcomes})
    return float(np.linalg.norm(found - honest) / way), rounds, "/".join(fates)


def main(seeds: int) -> None:
    """A row for each attack."""
    sys.stdout.write("| one of 12 | " + " | ".join(MODES) + " |\n")
    sys.stdout.write("|---" * (len(MODES) + 1) + "|\n")
    for attack in ATTACKS[1:]:
        cells = []
        for aggregation in MODES.values():
            found = [moved(aggregation, attack, seed) for seed in range(1, seeds + 1)]
            fate = "/".join(sorted({one[2] for one in found}))
            rounds = min(one[1] for one in found)
            cells.append(f"{median(one[0] for one in found):.3g} ({fate}; {rounds} of 6)")
        sys.stdout.write(f"| {attack} | " + " | ".join(cells) + " |\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:] or ["3"]))
