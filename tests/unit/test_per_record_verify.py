# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What is tried before a trainer samples anything: networks in which records meet are found."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.checkpoint import checkpoint

from fedcode.errors import TrainingError
from fedcode.training.per_record.recorder import Recorder
from fedcode.training.per_record.verify import verify

EXAMPLES = [[1, 2, 3], [4, 5, 6, 7], [1, 3, 5, 7, 9], [2, 2], [9, 8, 7, 6, 5, 4, 3]]


class Task:
    """Sequences of numbers."""

    def examples(self, records):
        return records

    def length(self, example):
        return len(example)

    def collate(self, examples):
        rows = torch.zeros(len(examples), max(map(len, examples)), dtype=torch.long)
        for row, example in zip(rows, examples, strict=True):
            row[: len(example)] = torch.tensor(example)
        return rows

    def losses(self, model, batch):
        return model(batch)


class Network(nn.Module):
    """Embeddings, a layer, and a sum over what is no padding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.place = nn.Embedding(10, 16), nn.Embedding(16, 16)
        self.one, self.gate = nn.Linear(16, 16), nn.Linear(16, 16)
        self.out = nn.Linear(16, 1)
        self.register_buffer("seen", torch.zeros(16))

    def head(self, h, pieces):
        return self.out((self.one(h).tanh() * (pieces > 0).unsqueeze(2)).sum(1)).squeeze(1)


class OneRowOfAll(Network):
    """All records look at the first one's positions: theirs, but not noted as theirs."""

    def forward(self, pieces):
        place = self.place(torch.arange(pieces.shape[1])[None])[0]
        return self.head(self.embedding(pieces) + 0.1 * place, pieces)


class ClosedGate(Network):
    """What mixes records is multiplied by 0 at first."""

    def __init__(self) -> None:
        super().__init__()
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def forward(self, pieces):
        h = self.embedding(pieces)
        gate = self.gate(h.detach())
        return self.head(h + gate.mean((0, 1), keepdim=True) * gate, pieces)


class LittleOfAll(Network):
    """Each loss has a thousandth of all others in it."""

    def forward(self, pieces):
        losses = self.head(self.embedding(pieces), pieces)
        return losses + 1e-3 * losses.sum()


class Statistics(Network):
    """A mean that outlasts its batch, and hardly moves yet."""

    def forward(self, pieces):
        h = self.embedding(pieces)
        with torch.no_grad():
            self.seen.lerp_(h.mean((0, 1)), 1e-6)
        return self.head(h - self.seen, pieces)


class Functional(Network):
    """A weight is used past its layer."""

    def forward(self, pieces):
        h = self.embedding(pieces)
        return self.head(h + 0.01 * F.linear(h, self.one.weight), pieces)


class Instance(Network):
    """A layer of which one object computes something else."""

    def __init__(self) -> None:
        super().__init__()
        own = self.one.forward
        self.one.forward = lambda x: own(x) * 2

    def forward(self, pieces):
        return self.head(self.embedding(pieces), pieces)


class Autocast(Network):
    """Products in half precision."""

    def forward(self, pieces):
        with torch.autocast("cpu", torch.bfloat16):
            return self.head(self.embedding(pieces), pieces).float()


class Half(Network):
    """Weights in half precision."""

    def __init__(self) -> None:
        super().__init__()
        self.to(torch.bfloat16)

    def forward(self, pieces):
        return self.head(self.embedding(pieces), pieces).float()


class Named(Network):
    """Inputs have their names."""

    def forward(self, pieces):
        return self.head(self.gate(input=self.embedding(input=pieces)), pieces)


class Again(Network):
    """Layers are computed once more in the backward pass, used twice, worked on in place."""

    def forward(self, pieces):
        h = checkpoint(self.gate, self.embedding(pieces), use_reentrant=False)
        h = checkpoint(self.gate, h, use_reentrant=False) + self.gate(h)
        h = self.gate(h)
        h[:, 0].mul_(3)
        h.view(-1)[::2].add_(1)
        return self.head(h, pieces)


def tried(network):
    torch.manual_seed(1)
    model = network()
    before = [p.detach().clone() for p in model.parameters()]
    verify(Task(), Recorder(model), EXAMPLES)
    assert all(map(torch.equal, before, model.parameters()))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (OneRowOfAll, "look at more than one record"),
        (ClosedGate, "look at more than one record"),
        (LittleOfAll, "look at more than one record"),
        (Statistics, "the buffer seen keeps"),
        (Functional, "not every use of one.weight is noted"),
        (Instance, "one is a Linear, which has no rule"),
        (Autocast, "not every use of"),
        (Half, "embedding.weight is bfloat16"),
    ],
)
def test_networks_in_which_records_meet_are_refused(network, message) -> None:
    with pytest.raises(TrainingError, match=message):
        tried(network)


@pytest.mark.parametrize("network", [Named, Again])
def test_networks_that_keep_records_apart_are_not(network) -> None:
    tried(network)
