# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Losses of a language model's next tokens, by way of its output layer."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn


class TokenLosses(nn.Module):
    """Cross-entropy of tokens, each by itself.

    Output layer and loss are one module, so that whoever trains may compute them together, a few
    records at a time: logits of a large vocabulary are the largest tensor of all.

    Args:
        output: from hidden vectors to logits; it may share its weight with an embedding.
        ignored: the token that costs nothing (padding).
    """

    def __init__(self, output: nn.Linear, ignored: int) -> None:
        super().__init__()
        self.output = output
        self.ignored = ignored

    def forward(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Nats of each target, 0 where it is ignored, shape (batch, time).

        Args:
            hidden: shape (batch, time, n).
            targets: shape (batch, time).
        """
        logits = self.output(hidden).flatten(0, 1)
        each = F.cross_entropy(
            logits, targets.flatten(), reduction="none", ignore_index=self.ignored
        )
        return each.view(targets.shape)
