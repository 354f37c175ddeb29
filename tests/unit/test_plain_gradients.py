# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Training without privacy: the recorder's gradients are autograd's, however weights are used."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from fedcode.models.vocabulary import TokenLosses
from fedcode.training.plain import PlainTrainer

PIECES, NEXT = torch.arange(24).view(4, 6) % 11, torch.arange(24).view(4, 6) * 5 % 11


class Functional(nn.Module):
    """The output is the embedding's weight, without a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.norm, self.layer = (
            nn.Embedding(11, 8),
            nn.LayerNorm(8),
            nn.Linear(8, 8),
        )

    def forward(self):
        h = self.layer(self.norm(self.embedding(PIECES))).tanh()
        return F.cross_entropy(F.linear(h, self.embedding.weight).flatten(0, 1), NEXT.flatten())


class Scaled(nn.Module):
    """Layers whose forward passes are autograd's own, one after another."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.group = nn.Conv1d(6, 4, 3), nn.GroupNorm(2, 4)
        self.second, self.norm = nn.Conv1d(4, 4, 3), nn.LayerNorm(4)

    def forward(self):
        h = self.group(self.first(torch.arange(192.0).sin().view(4, 6, 8)))
        h = self.norm(self.second(h))
        return h.pow(3).mean() + (h * self.norm.weight).mean()


class Scores(nn.Module):
    """A layer of one's own, which shares the embedding's weight."""

    def __init__(self, weight) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, h):
        return h @ self.weight.t()


class Shared(nn.Module):
    """A weight of a layer that has a rule, and of one that has none."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.scores = Scores(self.embedding.weight)

    def forward(self):
        scores = self.scores(self.embedding(PIECES).tanh())
        return F.cross_entropy(scores.flatten(0, 1), NEXT.flatten())


class Flat(nn.Module):
    """One index for each record, and one row without records."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.layer = nn.Embedding(11, 8), nn.Linear(8, 11)

    def forward(self):
        rows = self.layer(self.embedding(PIECES[0]))
        return F.cross_entropy(rows, NEXT[0]) + self.layer(self.embedding.weight[0]).square().sum()


class Hooked(nn.Module):
    """An output layer that a hook scales."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.losses = TokenLosses(nn.Linear(8, 11), 0)
        self.losses.output.register_forward_hook(lambda _layer, _given, logits: logits * 3)

    def forward(self):
        return self.losses(self.embedding(PIECES), NEXT).mean()


@pytest.mark.parametrize("network", [Functional, Scaled, Shared, Flat, Hooked])
def test_gradients_are_those_of_autograd(network) -> None:
    torch.manual_seed(3)
    model = network()
    expected = torch.autograd.grad(model(), list(model.parameters()))
    before = [p.detach().clone() for p in model.parameters()]
    trainer = PlainTrainer(model, 10, learning_rate=1e-3)
    trainer._gradients(model() for _ in range(1))
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6)
    assert all(map(torch.equal, before, model.parameters()))
