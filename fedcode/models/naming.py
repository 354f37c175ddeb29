# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Networks that guess a name, one subtoken after another.

Both say how likely each next subtoken is, given what is read and the subtokens so far. All
parameters stand in layers that have per-record gradients; nothing looks at another record.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn

PAD, UNKNOWN, END = range(3)
"""The first of the vocabulary: padding, what is not in it, and the end (and start) of a name."""

_MASKED = -1e4
_LEAST = 1e-8


@dataclass(frozen=True, slots=True)
class Text:
    """Records, padded at the end by 0.

    Attributes:
        words: shape (batch, time): indices in the vocabulary.
        parts: shape (batch, time): where each stands; 0 in the padding.
        same: shape (batch, time): as ``words``, but what the vocabulary lacks is counted on.
        name: shape (batch, steps): what is asked for, numbered as ``same``, with :data:`END`.
    """

    words: Tensor
    parts: Tensor
    same: Tensor
    name: Tensor

    def to(self, device: torch.device) -> Text:
        """The same on ``device``."""
        return Text(*(part.to(device) for part in (self.words, self.parts, self.same, self.name)))

    def of(self, rows: Tensor) -> Text:
        """The records of ``rows``."""
        return Text(self.words[rows], self.parts[rows], self.same[rows], self.name[rows])


class Naming(nn.Module, ABC):
    """What the two networks share: how a name is said, and how the likeliest are found."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.vocabulary = vocabulary

    @abstractmethod
    def forward(self, text: Text) -> Tensor:
        """Log-probability of each subtoken of ``text.name``, shape (batch, steps)."""

    @abstractmethod
    def next(self, text: Text, said: Tensor, size: int) -> Tensor:
        """Log-probabilities of what comes after ``said``, shape (batch, size).

        Args:
            text: what is read.
            said: shape (batch, steps): subtokens so far, numbered as ``text.same``.
            size: of the vocabulary, and what ``text`` holds beside it.
        """

    def likeliest(self, text: Text, most: int, longest: int) -> tuple[Tensor, Tensor]:
        """The likeliest names that a beam of width ``most`` finds.

        Returns:
            Subtokens, shape (batch, most, longest + 1), 0 after the end, likeliest first; and
            log-probabilities, shape (batch, most), minus infinity for names that there are not.
        """
        batch, size = len(text.words), max(self.vocabulary, int(text.same.max()) + 1)
        rows = torch.arange(batch, device=text.words.device)
        names = text.words.new_zeros((batch, 1, 0))
        chances = torch.zeros((batch, 1), device=text.words.device)
        for step in range(longest + 1):
            width = names.shape[1]
            each = rows.repeat_interleave(width)
            now = self.next(text.of(each), names.flatten(0, 1), size).view(batch, width, size)
            now[..., : END + (step == 0)] = -torch.inf
            done = (names == END).any(2) if step else torch.zeros_like(chances, dtype=torch.bool)
            now = now.masked_fill(done[..., None], -torch.inf)
            now[..., PAD] = torch.where(done, 0.0, -torch.inf)
            if step == longest:
                ended = torch.where(done, now[..., PAD], now[..., END])
                now = torch.full_like(now, -torch.inf)
                now[..., END] = torch.where(done, -torch.inf, ended)
                now[..., PAD] = torch.where(done, 0.0, -torch.inf)
            total = (chances[..., None] + now).flatten(1)
            chances, best = total.topk(min(most, total.shape[1]), dim=1)
            before = names.gather(1, (best // size)[..., None].expand(-1, -1, names.shape[2]))
            names = torch.cat((before, (best % size)[..., None]), dim=2)
        return names, chances


def _before(name: Tensor) -> Tensor:
    """What stands before each subtoken: the end mark before the first."""
    return F.pad(name[:, :-1], (1, 0), value=END)


class LogBilinear(Naming):
    """Scores of subtokens are linear in what is read, and in the two subtokens before.

    Allamanis et al. 2015, doi:10.1145/2786805.2786849. Subtokens in the same place of a record are
    added up; each place has a matrix of its own.

    Args:
        vocabulary: number of subtokens, special ones included.
        parts: number of places, the padding's included.
        embedding: width of the embeddings of what is read, and of what is said.
        dropout: of what is read.
    """

    def __init__(self, vocabulary: int, parts: int, embedding: int, dropout: float) -> None:
        super().__init__(vocabulary)
        self.parts = parts
        self.read = nn.Embedding(vocabulary, embedding, padding_idx=PAD)
        self.said = nn.Embedding(vocabulary, embedding)
        for table in (self.read, self.said):
            nn.init.normal_(table.weight, std=0.3)
        self.read.weight.data[PAD] = 0
        self.dropout = nn.Dropout(dropout)
        self.context = nn.Linear((parts - 1) * embedding, embedding)
        self.previous = nn.Linear(2 * embedding, embedding, bias=False)
        self.output = nn.Linear(embedding, vocabulary)
        nn.init.normal_(self.output.weight, std=0.1)

    def forward(self, text: Text) -> Tensor:
        """See :meth:`Naming.forward`."""
        name = _known(text.name, self.vocabulary)
        scores = self._scores(text, _before(name))
        return scores.gather(2, name[..., None]).squeeze(2)

    def next(self, text: Text, said: Tensor, size: int) -> Tensor:
        """See :meth:`Naming.next`; nothing beside the vocabulary is said."""
        before = F.pad(_known(said, self.vocabulary), (1, 0), value=END)
        scores = self._scores(text, before)[:, -1]
        return F.pad(scores, (0, size - scores.shape[1]), value=-torch.inf)

    def _scores(self, text: Text, before: Tensor) -> Tensor:
        """Log-probabilities, shape (batch, steps, vocabulary)."""
        context = self.context(self.dropout(sums(self.read(text.words), text.parts, self.parts)))
        last = self.said(before)
        earlier = F.pad(last[:, :-1], (0, 0, 1, 0))
        wanted = context[:, None] + self.previous(torch.cat((last, earlier), dim=2))
        scores: Tensor = self.output(self.dropout(wanted))
        return scores.log_softmax(2)


class CopyAttention(Naming):
    """Convolutional attention that says a subtoken of the vocabulary or copies one it reads.

    Allamanis et al. 2016, arXiv:1602.03001. Two convolutions over what is read give the features
    that a recurrent state asks: by its weights embeddings are averaged, by a second set of weights
    subtokens are copied, and a gate chooses.

    Args:
        vocabulary: number of subtokens, special ones included.
        parts: number of places, the padding's included.
        embedding: width of the embeddings.
        hidden: width of the convolutions and of the recurrent state.
        window: of the first convolution.
        dropout: of what is read and what is said.
    """

    def __init__(
        self, vocabulary: int, parts: int, embedding: int, hidden: int, window: int, dropout: float
    ) -> None:
        super().__init__(vocabulary)
        self.parts = parts
        self.embedding = nn.Embedding(vocabulary, embedding, padding_idx=PAD)
        nn.init.normal_(self.embedding.weight, std=0.3)
        self.embedding.weight.data[PAD] = 0
        self.place = nn.Embedding(parts, embedding)
        nn.init.normal_(self.place.weight, std=0.3)
        self.dropout = nn.Dropout(dropout)
        self.near = nn.Conv1d(embedding, hidden, window, padding=window // 2)
        self.far = nn.Conv1d(hidden, 2 * hidden, 3, padding=1, bias=False)
        self.context = nn.Linear((parts - 1) * embedding, embedding)
        self.state = nn.GRU(2 * embedding, hidden, batch_first=True)
        self.ask = nn.Linear(hidden, 2 * hidden)
        self.gate = nn.Linear(hidden + embedding, 1)
        self.wanted = nn.Linear(hidden + 2 * embedding, embedding)
        self.output = nn.Linear(embedding, vocabulary)
        self.output.weight = self.embedding.weight

    def forward(self, text: Text) -> Tensor:
        """See :meth:`Naming.forward`."""
        said, copied, gate = self._guess(text, _before(_known(text.name, self.vocabulary)))
        known = text.name < self.vocabulary
        name = _known(text.name, self.vocabulary)
        by_word = said.gather(2, name[..., None]).squeeze(2).masked_fill(~known, _MASKED)
        here = (text.same[:, None] == text.name[..., None]) & (text.parts != 0)[:, None]
        by_copy = (copied * here).sum(2).clamp(min=_LEAST).log()
        return torch.logaddexp(F.logsigmoid(-gate) + by_word, F.logsigmoid(gate) + by_copy)

    def next(self, text: Text, said: Tensor, size: int) -> Tensor:
        """See :meth:`Naming.next`."""
        before = F.pad(_known(said, self.vocabulary), (1, 0), value=END)
        words, copied, gate = (found[:, -1] for found in self._guess(text, before))
        chances = gate.neg().sigmoid()[:, None] * words.exp()
        chances = F.pad(chances, (0, size - chances.shape[1]))
        return chances.scatter_add(1, text.same, gate.sigmoid()[:, None] * copied).log()

    def _guess(self, text: Text, before: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities of words, weights of copies, and the gate's logit, by step."""
        inside = text.parts != 0
        words = self.embedding(text.words)
        x = self.dropout((words + self.place(text.parts)) * inside[..., None])
        features = F.relu(self.near(x.transpose(1, 2))) * inside[:, None]
        keys, copies = self.far(features).chunk(2, dim=1)
        context = self.context(self.dropout(sums(words, text.parts, self.parts)))
        given = self.dropout(self.embedding(before))
        repeated = context[:, None].expand_as(given)
        state = self.state(torch.cat((given, repeated), dim=2))[0]
        asked, wished = self.ask(state).chunk(2, dim=2)
        scale = asked.shape[2] ** -0.5
        outside = ~inside[:, None]
        weights = (torch.bmm(asked, keys) * scale).masked_fill(outside, _MASKED).softmax(2)
        copied = (torch.bmm(wished, copies) * scale).masked_fill(outside, _MASKED).softmax(2)
        seen = torch.bmm(weights, words)
        gate = self.gate(torch.cat((state, seen), dim=2)).squeeze(2)
        wanted = self.wanted(self.dropout(torch.cat((state, seen, repeated), dim=2)))
        return self.output(wanted).log_softmax(2), copied * inside[:, None], gate


def sums(vectors: Tensor, parts: Tensor, number: int) -> Tensor:
    """Sums over each part but 0, divided by the root of their number, (batch, (number-1) * n)."""
    where = F.one_hot(parts, number)[..., 1:].to(vectors.dtype)
    found = torch.bmm(where.transpose(1, 2), vectors)
    return (found / where.sum(1).clamp(min=1).sqrt()[..., None]).flatten(1)


def _known(numbers: Tensor, vocabulary: int) -> Tensor:
    return numbers.masked_fill(numbers >= vocabulary, UNKNOWN)
