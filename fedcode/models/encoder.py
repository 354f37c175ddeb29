# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Reads a function from both sides and says how odd each of its tokens is.

A token is judged by what stands before and after it, never by states that have read it: a
left-to-right GRU up to the token before, a right-to-left one from the token after. From there the
token is guessed twice: among a public table of frequent tokens and the function's own, and by
looking at similar places of the same function (a pointer, as in Vinyals et al., arXiv:1506.03134).
How badly it was guessed, with the token and its surroundings, gives its score. The scores and
"no defect", whose score is 0, share one softmax (Vasic et al., arXiv:1904.01720); so a function's
logit of being defective is the log-sum-exp of its tokens' scores.

All parameters stand in layers that have per-record gradients; nothing looks at another record.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn

MASKED = -1e4
_LEAST = 1e-6
_PRIOR = -3.0
"""Added to every score: at the start about one token in twenty is odd."""
_FROM_GUESSES = 6


class Reading(NamedTuple):
    """What the encoder says of a batch.

    Attributes:
        logits: shape (batch,): of being defective.
        scores: shape (batch, time): of each token; :data:`MASKED` in the padding.
        surprise: shape (batch,): nats to guess all tokens of the function.
    """

    logits: Tensor
    scores: Tensor
    surprise: Tensor


class DefectEncoder(nn.Module):
    """Two GRUs, two ways to guess a token, and a score per token.

    Args:
        vocabulary: number of pieces; piece 0 is padding.
        table: shape (table, pieces): the pieces of the public table of frequent tokens.
        embedding: width of the tokens' embeddings: sums of their pieces', normalized.
        hidden: width of each GRU.
        head: width of the hidden layer that scores tokens.
        pointer: width of the vectors by which places of a function are compared.
    """

    def __init__(
        self, vocabulary: int, table: Tensor, embedding: int, hidden: int, head: int, pointer: int
    ) -> None:
        super().__init__()
        self.register_buffer("table", table, persistent=False)
        self.table: Tensor
        self.embedding = nn.Embedding(vocabulary, embedding, padding_idx=0)
        nn.init.normal_(self.embedding.weight, std=0.5)
        self.embedding.weight.data[0] = 0
        self.rightward = nn.GRU(embedding, hidden, batch_first=True)
        self.leftward = nn.GRU(embedding, hidden, batch_first=True)
        self.guess = nn.Linear(2 * hidden, embedding + 1)
        self.pointer = nn.Linear(2 * hidden, 2 * pointer)
        self.gate = nn.Linear(2 * hidden, 1)
        self.head = nn.Linear(2 * hidden + 2 * embedding + _FROM_GUESSES, head)
        self.score = nn.Linear(head, 1)

    def forward(self, own: Tensor, tokens: Tensor, lengths: Tensor) -> Reading:
        """Reads a batch.

        Args:
            own: shape (batch, own, pieces): each function's tokens that the table lacks, once each.
            tokens: shape (batch, time): places in the table, then in ``own``; padded at the end.
            lengths: shape (batch,): tokens of each function.
        """
        candidates = self._candidates(own)
        inside = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]
        index = tokens[..., None].expand(-1, -1, candidates.shape[2])
        x = candidates.gather(1, index)
        context = self._context(x, lengths, inside)
        wanted, bonus = self.guess(context).tensor_split((x.shape[2],), dim=2)
        by_content = self._by_content(wanted, bonus, candidates, own)
        likely = by_content.amax(2)
        content = by_content.gather(2, tokens[..., None]).squeeze(2)
        copied, best = self._by_copying(context, tokens, inside)
        gate = self.gate(context).squeeze(2)
        guessed = torch.logaddexp(F.logsigmoid(gate) + content, F.logsigmoid(-gate) + copied)
        guesses = torch.stack((content, content - likely, likely, copied, best, gate), dim=2)
        hidden = F.gelu(self.head(torch.cat((context, x, wanted * x, guesses), dim=2)))
        scores = (self.score(hidden).squeeze(2) + _PRIOR).masked_fill(~inside, MASKED)
        return Reading(scores.logsumexp(1), scores, -(guessed * inside).sum(1))

    def _candidates(self, own: Tensor) -> Tensor:
        """Embeddings of all that a token can be, shape (batch, table + own, embedding)."""
        shape = (self.embedding.embedding_dim,)
        table = F.layer_norm(self.embedding(self.table).sum(1), shape)
        mine = F.layer_norm(self.embedding(own).sum(2), shape)
        return torch.cat((table.expand(len(own), -1, -1), mine), dim=1)

    def _context(self, x: Tensor, lengths: Tensor, inside: Tensor) -> Tensor:
        """What stands before and after each token, shape (batch, time, 2 hidden).

        Each record is reversed within its own length, so that padding is read last from either
        side and no record depends on how long the others of its batch are.
        """
        time = torch.arange(x.shape[1], device=x.device)
        mirror = torch.where(inside, lengths[:, None] - 1 - time, time)[..., None]
        before = self.rightward(x)[0]
        after = self.leftward(x.gather(1, mirror.expand_as(x)))[0]
        after = after.gather(1, mirror.expand_as(after))
        before = F.pad(before[:, :-1], (0, 0, 1, 0))
        after = F.pad(after[:, 1:] * inside[:, 1:, None], (0, 0, 0, 1))
        return torch.cat((before, after), dim=2)

    def _by_content(self, wanted: Tensor, bonus: Tensor, candidates: Tensor, own: Tensor) -> Tensor:
        """Log-probabilities of the candidates, shape (batch, time, table + own)."""
        logits = torch.bmm(wanted, candidates.transpose(1, 2)) * wanted.shape[2] ** -0.5
        frequent, mine = logits.tensor_split((len(self.table),), dim=2)
        mine = (mine + bonus).masked_fill((own[..., 0] == 0)[:, None], MASKED)
        return torch.cat((frequent, mine), dim=2).log_softmax(2)

    def _by_copying(self, context: Tensor, tokens: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probability of each token and of the likeliest one, by similar places' tokens."""
        query, key = self.pointer(context).chunk(2, dim=2)
        similar = torch.bmm(query, key.transpose(1, 2)) * query.shape[2] ** -0.5
        itself = torch.eye(tokens.shape[1], dtype=torch.bool, device=tokens.device)
        elsewhere = inside[:, None] & ~itself
        share = similar.masked_fill(~elsewhere, MASKED).softmax(2) * elsewhere
        same = (tokens[:, :, None] == tokens[:, None]).to(share.dtype)
        copied = (share * same).sum(2).clamp(min=_LEAST).log()
        best = torch.bmm(share, same).amax(2).clamp(min=_LEAST).log()
        return copied, best
