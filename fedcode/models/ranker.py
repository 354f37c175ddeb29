# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Ranks candidates by what is known of each, and by whether its words go with those of a question.

The second is learned: words of questions and words of candidates that mean the same lie close to
each other, though they differ. Source: Lam et al. 2015, doi:10.1109/ASE.2015.73.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn

_STD = 0.1


class Ranker(nn.Module):
    """A score for each candidate.

    Args:
        features: numbers that are known of a candidate.
        hidden: width of the hidden layer.
        vocabulary: number of words; word 0 is padding.
        embedding: width of the words' vectors.
    """

    def __init__(self, features: int, hidden: int, vocabulary: int, embedding: int) -> None:
        super().__init__()
        self.asked = nn.Embedding(vocabulary, embedding, padding_idx=0)
        self.found = nn.Embedding(vocabulary, embedding, padding_idx=0)
        for table in (self.asked, self.found):
            nn.init.normal_(table.weight, std=_STD)
            table.weight.data[0] = 0
        self.found.weight.data.copy_(self.asked.weight.data)  # a word goes with itself
        self.hidden = nn.Linear(features + 1, hidden)
        self.score = nn.Linear(hidden, 1, bias=False)

    def forward(
        self, question: Tensor, known: Tensor, words: Tensor, *, learn_words: bool = False
    ) -> Tensor:
        """Scores, shape (batch, candidates).

        Args:
            question: shape (batch, words): of each question.
            known: shape (batch, candidates, features).
            words: shape (batch, candidates, words): of each candidate.
            learn_words: whether the words' vectors are learned, too; else they are constants.
        """
        with torch.set_grad_enabled(learn_words and torch.is_grad_enabled()):
            asked = F.normalize(self.asked(question).sum(1), dim=-1, eps=1e-6)
            found = F.normalize(self.found(words).sum(2), dim=-1, eps=1e-6)
            relevance = torch.einsum("be,bne->bn", asked, found)
        x = torch.cat((known, relevance[..., None]), dim=-1)
        scores: Tensor = self.score(F.gelu(self.hidden(x)))
        return scores.squeeze(-1)
