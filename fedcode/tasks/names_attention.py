# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""`names-attention`: names by convolutional attention with a copy mechanism.

Allamanis, Peng, Sutton 2016, arXiv:1602.03001.
"""

from __future__ import annotations

from typing import Literal

from torch import nn

from fedcode.models.naming import CopyAttention
from fedcode.strict import Count
from fedcode.tasks.naming import PARTS, NamingSettings, NamingTask


class AttentionSettings(NamingSettings):
    """See :class:`NamingSettings`.

    Attributes:
        window: subtokens that the first convolution looks at.
        private: what is trained on private data: every weight, or all but the embeddings.
    """

    window: Count = 5
    private: Literal["all", "network"] = "network"


class AttentionTask(NamingTask):
    """See the module."""

    name = "names-attention"
    settings_class = AttentionSettings

    def build(self) -> nn.Module:
        """The network; what ``private`` leaves out is frozen."""
        s = self.settings
        model = CopyAttention(len(self.words), PARTS, s.embedding, s.hidden, s.window, s.dropout)
        model.embedding.weight.requires_grad_(s.private == "all")
        return model
