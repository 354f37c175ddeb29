# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A task of a few weights, and what its private training needs: receipts and chosen randomness."""

from dataclasses import replace

import numpy as np
import torch
from officers import open_real
from torch import nn
from torch.nn import functional

from fedcode.federation import TrainingSettings
from fedcode.privacy.accountant import Filter
from fedcode.privacy.ledger import BudgetLedger
from fedcode.privacy.noise import SecureGenerator
from fedcode.privacy.policy import PrivacyPolicy
from fedcode.record import PrivacyUnit, Record, UnitId
from fedcode.training.network import layout, write
from fedcode.training.private import PrivateNetwork, PrivateTrainer
from fedcode.training.ranks import Alone

WORDS, PADDING, LONGEST = 8, 0, 50


def record(number, *tokens):
    """A record of tokens that are numbers from 1 to 7."""
    unit = UnitId(f"a.py::f{number}")
    return Record(unit, "a.py", f"f{number}", "function", tuple(map(str, tokens)), 1)


def records(lengths, seed=0):
    """Records of these lengths with random tokens."""
    rng = np.random.default_rng(seed)
    return [record(i, *rng.integers(1, WORDS, n)) for i, n in enumerate(lengths)]


def owned(record, owner):
    """The same record in a file, by an author and in a repository that are ``owner``'s."""
    path = f"{owner}/a.py"
    return replace(record, path=path, author=str(owner), repository=str(owner))


def units_of(sizes, seed=0):
    """Records of units of these numbers of records, one unit after another."""
    made = iter(records(np.random.default_rng(seed).integers(2, 30, sum(sizes)), seed))
    return [owned(next(made), owner) for owner, size in enumerate(sizes) for _ in range(size)]


class ToyTask:
    """Guesses each token from the one before it; losses are sums over a public constant."""

    def __init__(self, *, frozen=False, dropout=0.0, scale=1.0):
        self.frozen, self.dropout, self.scale = frozen, dropout, scale

    def build(self):
        torch.manual_seed(1)  # also where a test builds one itself
        model = nn.Sequential(
            nn.Embedding(WORDS, 4), nn.Dropout(self.dropout), nn.Linear(4, 5), nn.Tanh(),
            nn.Dropout(self.dropout), nn.Linear(5, WORDS),
        )  # fmt: skip
        model[0].weight.requires_grad_(not self.frozen)
        return model

    def examples(self, records):
        return [np.array(r.tokens, np.int64) for r in records]

    def length(self, example):
        return len(example)

    def collate(self, examples):
        batch = np.full((len(examples), max(map(len, examples))), PADDING)
        for row, example in zip(batch, examples, strict=True):
            row[: len(example)] = example
        return torch.from_numpy(batch)

    def sums(self, model, batch):
        """Cross-entropy of each record, summed over its tokens."""
        before = functional.pad(batch, (1, 0))[:, :-1]
        logits = model(before).flatten(0, 1)
        each = functional.cross_entropy(
            logits, batch.flatten(), reduction="none", ignore_index=PADDING
        )
        return each.view(batch.shape).sum(1)

    def losses(self, model, batch):
        return self.scale * self.sums(model, batch) / LONGEST


class BatchMeanTask(ToyTask):
    """The mistake: the denominator counts the tokens of the whole batch."""

    def losses(self, model, batch):
        return self.scale * self.sums(model, batch) / (batch != PADDING).sum()


class ChosenGenerator(SecureGenerator):
    """Takes the indices that a test names, and draws no noise unless it shall."""

    def __init__(self, indices=None, *, noise=False):
        super().__init__()
        self.indices, self.noise = indices, noise
        self.samples = self.coordinates = 0

    def poisson_sample(self, population, rate):
        self.samples += 1
        chosen = range(population) if self.indices is None else self.indices
        return np.array(chosen, np.int64)

    def gaussian(self, n, std):
        self.coordinates += n
        return super().gaussian(n, std) if self.noise else np.zeros(n)


def policy_of(settings, weights, noise_multiplier=1.0, unit=PrivacyUnit.FUNCTION):
    """A policy that fits to ``settings``."""
    return PrivacyPolicy(
        unit,
        settings.clipping_norm,
        weights,
        noise_multiplier,
        settings.sampling_rate,
        settings.steps_per_round,
        1e-5,
        200.0,
    )


def receipt_for(policy, *, ledger=None, seeded=False):
    """A receipt of a ledger that vanishes, or of ``ledger``."""
    ledger = ledger or BudgetLedger.open(":memory:")
    budget = Filter.for_budget(policy.max_epsilon, policy.delta, 4.0)
    if seeded:
        ledger.open_simulated("toy", organization="o", unit=policy.unit, budget=budget)
    else:
        open_real(ledger, "toy", unit=policy.unit, epsilon=policy.max_epsilon, delta=policy.delta)
    cost = budget.cost(policy.noise_multiplier, policy.sampling_rate, policy.steps_per_round)
    return ledger.charge(cost, asset="toy", agreement="a" * 64, purpose="test", task="toy", round=1)


def settings_of(**changes):
    """Training settings under which a step's sum is the change of weights with its sign turned."""
    plain = {"sampling_rate": 0.5, "nominal_batch": 1, "learning_rate": 1.0}
    return TrainingSettings(**plain | changes)


class Training:
    """One organization's private training of a task."""

    def __init__(
        self,
        task,
        data,
        settings,
        *,
        generator=None,
        noise_multiplier=1.0,
        unit=PrivacyUnit.FUNCTION,
        level=None,
        ranks=None,
    ):
        self.generator = generator or ChosenGenerator()
        torch.manual_seed(1)  # weights that are frozen are the same in all networks
        self.network = PrivateNetwork(task.build())
        self.size = layout(self.network.model).size
        coordinates = settings.coordinates(self.size)
        self.policy = policy_of(settings, coordinates, noise_multiplier, unit)
        self.trainer = PrivateTrainer(
            task, self.network, data, settings, self.policy, lambda _: self.generator, level,
            ranks or Alone(),
        )  # fmt: skip

    def change(self, weights=None, receipt=None):
        """One round from ``weights`` (the initial ones if None): the change of weights."""
        if weights is None:
            weights = initial(self.network.model)
        return self.trainer.train(weights, receipt or receipt_for(self.policy)).vector


def initial(model):
    """Small weights, the same for all networks of one shape."""
    size = layout(model).size
    return np.random.default_rng(7).normal(0, 0.2, size).astype(np.float32)


def gradients(task, model, example):
    """One record's gradient by itself, flat, without Opacus."""
    model.zero_grad()
    task.losses(model, task.collate([example])).sum().backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    return np.concatenate([p.grad.numpy().ravel() for p in trained])


def clipped_sum(task, data, settings, weights):
    """The definition: each record's gradient by itself, scaled, added up in double precision."""
    torch.manual_seed(1)  # as in a training
    model = task.build()
    write(model, weights)
    total = np.zeros(len(weights))
    for example in task.examples(data):
        total += clipped(gradients(task, model, example).astype(np.float64), settings, model)
    return total


def clipped(gradient, settings, model):
    """One gradient, scaled; adaptive clipping is flat in the first step."""
    norm, length = settings.clipping_norm, np.linalg.norm(gradient)
    if settings.clipping == "normalized":
        return gradient * norm / (length + 0.01 * norm)
    if settings.clipping == "per-layer":
        where = layers_of(model)
        each = [gradient * (where == layer) for layer in np.unique(where)]
        most = norm / np.sqrt(len(each))
        return sum(part * min(1.0, most / max(np.linalg.norm(part), 1e-30)) for part in each)
    return gradient * min(1.0, norm / length)


def layers_of(model):
    """The module that each trained weight belongs to, as a number, shape (d,)."""
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    modules = list(dict.fromkeys(name.rpartition(".")[0] for name, _ in trained))
    return np.concatenate(
        [np.full(p.numel(), modules.index(name.rpartition(".")[0])) for name, p in trained]
    )
