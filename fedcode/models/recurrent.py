# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The recurrent language model: embedding, a stack of GRUs or LSTMs, tied output."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from fedcode.models.vocabulary import TokenLosses

_EMBEDDING_STD, _INPUT_GAIN, _STACKED_GAIN = 0.05, 2.0, 0.6

Cell = Literal["gru", "lstm"]
State = list[Tensor | tuple[Tensor, Tensor]]
"""One entry per layer: h of shape (1, batch, hidden), or (h, c)."""

_CELLS: dict[Cell, type[nn.GRU | nn.LSTM]] = {"gru": nn.GRU, "lstm": nn.LSTM}


class RecurrentLanguageModel(nn.Module):
    """Next-piece prediction with weights tied between input and output.

    Args:
        vocabulary: number of pieces V.
        embedding: width of the embeddings.
        hidden: width of each recurrent layer.
        layers: recurrent layers; from the second on, each adds to its input.
        cell: ``gru`` or ``lstm``.
        dropout: between the parts of the network, in the warm start only.
        padding: the piece that costs nothing.
    """

    def __init__(
        self,
        vocabulary: int,
        embedding: int,
        hidden: int,
        layers: int,
        cell: Cell,
        dropout: float,
        padding: int = 0,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding)
        widths = [embedding, *[hidden] * layers]
        self.layers = nn.ModuleList(
            _CELLS[cell](i, o, batch_first=True) for i, o in pairwise(widths)
        )
        self.project = nn.Linear(hidden, embedding)
        self.token_losses = TokenLosses(nn.Linear(embedding, vocabulary), padding)
        self.output.weight = self.embedding.weight
        self.dropout = nn.Dropout(dropout)
        self._initialize()

    @property
    def output(self) -> nn.Linear:
        """From hidden vectors to logits."""
        return self.token_losses.output

    def _initialize(self) -> None:
        """Small embeddings, for they are also the output; what reads them is scaled up."""
        nn.init.normal_(self.embedding.weight, std=_EMBEDDING_STD)
        nn.init.zeros_(self.output.bias)
        for number, layer in enumerate(self.layers):
            gain = _INPUT_GAIN if number == 0 else _STACKED_GAIN
            for name, weight in layer.named_parameters():
                if name.startswith("weight_hh"):
                    for gate in torch.chunk(weight.data, weight.shape[0] // weight.shape[1]):
                        nn.init.orthogonal_(gate)
                elif name.startswith("weight_ih"):
                    nn.init.normal_(weight, std=gain * weight.shape[1] ** -0.5)
                else:
                    nn.init.zeros_(weight)
                if isinstance(layer, nn.LSTM) and name == "bias_ih_l0":
                    nn.init.ones_(weight.data[layer.hidden_size : 2 * layer.hidden_size])

    def forward(self, pieces: Tensor) -> Tensor:
        """Logits (batch, time, V) of the piece after each of ``pieces`` (batch, time)."""
        return self.predict(pieces, None)[0]

    def predict(self, pieces: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Logits as in ``forward``, continuing from ``state``, and the state afterwards."""
        hidden, after = self.features(pieces, state)
        return self.output(hidden), after

    def losses(
        self, pieces: Tensor, targets: Tensor, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Nats of each of ``targets`` (batch, time), 0 for padding, and the state afterwards."""
        hidden, after = self.features(pieces, state)
        return self.token_losses(hidden, targets), after

    def features(self, pieces: Tensor, state: State | None) -> tuple[Tensor, State]:
        """What the output layer reads, shape (batch, time, embedding), and the state afterwards."""
        x = self.dropout(self.embedding(pieces))
        after: State = []
        for number, layer in enumerate(self.layers):
            y, last = layer(x) if state is None else layer(x, state[number])
            after.append(last)
            y = self.dropout(y)
            x = x + y if number else y
        return self.dropout(self.project(x)), after
