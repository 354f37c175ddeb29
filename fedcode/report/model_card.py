# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""``card.html``: a model's card, for whoever is to use it. Asks the network for nothing."""

from __future__ import annotations

from fedcode.card import Card
from fedcode.report import table
from fedcode.report.html import page


def render(card: Card) -> str:
    """The page; equal cards give equal text."""
    return page("model_card.html.j2", card=card, table=table)
