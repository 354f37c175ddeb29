# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The networks whose steps are timed, and a batch for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from opacus.layers import DPGRU, DPLSTM
from torch import Tensor, nn

from fedcode.models.boltzmann import BoltzmannMachine
from fedcode.models.vocabulary import TokenLosses
from fedcode.training.network import device
from fedcode.training.per_record.tape import PLACES

_VOCABULARY, _WIDTH = 8192, 256


@dataclass(frozen=True)
class Case:
    """What is trained, and on what.

    Attributes:
        name: as a table shows it.
        batch: records.
        build: the network as one who uses torch writes it; with Opacus' layers if told so.
        inputs: of the batch: what enters, and what should come out.
        recorded: the network with its losses of each record, as the recorder wants them.
        by_record: what turns outputs into losses of each record.
        opacus: whether Opacus can train it at all.
        places: of a record, where it has several.
    """

    name: str
    batch: int
    build: Callable[[bool], nn.Module]
    inputs: Callable[[], tuple[Any, ...]]
    recorded: Callable[[nn.Module], nn.Module]
    by_record: Callable[[Tensor, Tensor], Tensor]
    opacus: bool = True
    places: int = PLACES


class Recurrent(nn.Module):
    """Embedding, one recurrent layer, output."""

    def __init__(self, cell: type[nn.Module]) -> None:
        super().__init__()
        self.embedding = nn.Embedding(_VOCABULARY, _WIDTH)
        self.layer = cell(_WIDTH, _WIDTH, batch_first=True)
        self.output = nn.Linear(_WIDTH, _VOCABULARY)
        nn.init.normal_(self.embedding.weight, std=0.05)

    def features(self, tokens: Tensor) -> Tensor:
        return self.layer(self.embedding(tokens))[0]

    def forward(self, tokens: Tensor) -> Tensor:
        return self.output(self.features(tokens))


class Block(nn.Module):
    """Attention and a perceptron, each behind a norm."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(_WIDTH), nn.LayerNorm(_WIDTH)
        self.inner, self.outer = nn.Linear(_WIDTH, 3 * _WIDTH), nn.Linear(_WIDTH, _WIDTH)
        self.wide, self.narrow = nn.Linear(_WIDTH, 4 * _WIDTH), nn.Linear(4 * _WIDTH, _WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.inner(self.before(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(*parts, is_causal=True)
        x = x + self.outer(mixed.transpose(1, 2).flatten(2))
        return x + self.narrow(F.gelu(self.wide(self.between(x))))


class Transformer(nn.Module):
    """Embedding, learned positions, blocks, output."""

    def __init__(self, layers: int, heads: int, time: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(_VOCABULARY, _WIDTH)
        self.positions = nn.Embedding(time, _WIDTH)
        self.blocks = nn.Sequential(*(Block(heads) for _ in range(layers)))
        self.last = nn.LayerNorm(_WIDTH)
        self.output = nn.Linear(_WIDTH, _VOCABULARY, bias=False)
        for table in (self.embedding, self.positions):
            nn.init.normal_(table.weight, std=0.05)

    def features(self, tokens: Tensor) -> Tensor:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        # one row of places for each record: Opacus wants it so
        x = self.embedding(tokens) + self.positions(places.expand_as(tokens).contiguous())
        return self.last(self.blocks(x))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.output(self.features(tokens))


class Adapted(nn.Module):
    """A frozen layer with a low-rank adapter (Hu et al. 2021, arXiv:2106.09685)."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base
        self.down = nn.Linear(base.in_features, rank, bias=False)
        self.up = nn.Linear(rank, base.out_features, bias=False)
        nn.init.normal_(self.up.weight, std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.up(self.down(x))


class Bag(nn.Module):
    """The mean of a record's embeddings, and a perceptron; Opacus counts them ``apart`` only."""

    def __init__(self, apart: bool) -> None:
        super().__init__()
        whole = nn.EmbeddingBag(_VOCABULARY, 128, mode="mean")
        self.embedding = nn.Embedding(_VOCABULARY, 128) if apart else whole
        self.inner, self.outer = nn.Linear(128, 64), nn.Linear(64, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        return self.outer(torch.relu(self.inner(x.mean(1) if x.dim() > 2 else x)))


class LanguageLosses(nn.Module):
    """A language model with output layer and loss in one."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.losses = TokenLosses(network.output, ignored=-1)

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        return self.losses(self.network.features(tokens), targets).mean(1)


class ClassLosses(nn.Module):
    """A classifier and its losses."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens: Tensor, classes: Tensor) -> Tensor:
        return F.cross_entropy(self.network(tokens), classes, reduction="none")


def _recurrent(cell: str, looped: bool) -> nn.Module:
    kinds = {"GRU": (nn.GRU, DPGRU), "LSTM": (nn.LSTM, DPLSTM)}
    return Recurrent(kinds[cell][looped])


def _transformer(time: int, looped: bool) -> nn.Module:
    return Transformer(4, 4, time)


def _adapted(time: int, looped: bool) -> nn.Module:
    network = Transformer(4, 4, time).requires_grad_(False)
    for block in network.blocks:
        for name in ("inner", "outer", "wide", "narrow"):
            setattr(block, name, Adapted(getattr(block, name), 8))
    return network


def _text(batch: int, time: int) -> tuple[Tensor, Tensor]:
    """Tokens as frequent as words are (Zipf), and for each the next one."""
    generator = torch.Generator().manual_seed(0)
    frequent = 1 / torch.arange(1, _VOCABULARY + 1)
    tokens = torch.multinomial(frequent, batch * (time + 1), True, generator=generator)
    tokens = tokens.view(batch, time + 1).to(device())
    return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()


def _bags(batch: int, length: int) -> tuple[Tensor, Tensor]:
    tokens, _ = _text(batch, length)
    return tokens, tokens[:, 0] % 2


def _units(batch: int, visible: int) -> tuple[Tensor, torch.Generator]:
    """One unit in twenty is 1."""
    where = device()
    generator = torch.Generator(where).manual_seed(0)
    return (torch.rand(batch, visible, device=where) < 0.05).float(), generator


def _of_tokens(logits: Tensor, targets: Tensor) -> Tensor:
    each = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    return each.view(targets.shape).mean(1)


def _language(name: str, build: Callable[[bool], nn.Module], batch: int, time: int) -> Case:
    inputs = partial(_text, batch, time)
    title = f"{name}, B {batch}"
    return Case(title, batch, build, inputs, LanguageLosses, _of_tokens, places=time)


def _boltzmann(visible: int, hidden: int, batch: int) -> Case:
    return Case(
        f"RBM {visible} × {hidden}, B {batch}",
        batch,
        lambda _: BoltzmannMachine(visible, hidden),
        partial(_units, batch, visible),
        lambda network: network,
        lambda losses, _: losses,
        opacus=False,
    )


CASES = {
    "gru-32": _language("GRU LM", partial(_recurrent, "GRU"), 32, 64),
    "gru-64": _language("GRU LM", partial(_recurrent, "GRU"), 64, 64),
    "lstm-32": _language("LSTM LM", partial(_recurrent, "LSTM"), 32, 64),
    "lstm-64": _language("LSTM LM", partial(_recurrent, "LSTM"), 64, 64),
    "transformer": _language("transformer LM", partial(_transformer, 128), 32, 128),
    "lora": _language("LoRA r = 8 on it", partial(_adapted, 128), 32, 128),
    "rbm-small": _boltzmann(1000, 300, 256),
    "rbm-large": _boltzmann(4000, 500, 256),
    "bag": Case(
        "embedding bag, B 512",
        512,
        Bag,
        partial(_bags, 512, 128),
        ClassLosses,
        lambda logits, classes: F.cross_entropy(logits, classes, reduction="none"),
    ),
}
"""GRU and LSTM on 64 tokens, the transformer on 128, of 8192, all 256 wide; bags of 128 tokens."""
