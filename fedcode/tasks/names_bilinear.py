# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""`names-bilinear`: names by a log-bilinear context model with subtokens.

Allamanis, Barr, Bird, Sutton 2015, doi:10.1145/2786805.2786849.
"""

from __future__ import annotations

from typing import Literal

from torch import nn

from fedcode.models.naming import LogBilinear
from fedcode.tasks.naming import PARTS, NamingSettings, NamingTask


class BilinearSettings(NamingSettings):
    """See :class:`NamingSettings`; there is no hidden layer.

    Attributes:
        private: what is trained on private data: every weight, or only the matrices between the
            embeddings; the rest stays as public code made it.
    """

    private: Literal["all", "matrices"] = "matrices"


class BilinearTask(NamingTask):
    """See the module."""

    name = "names-bilinear"
    settings_class = BilinearSettings

    def build(self) -> nn.Module:
        """The network; what ``private`` leaves out is frozen."""
        s = self.settings
        model = LogBilinear(len(self.words), PARTS, s.embedding, s.dropout)
        for table in (model.read, model.said, model.output):
            table.weight.requires_grad_(s.private == "all")
        return model
