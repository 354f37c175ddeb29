# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""``data-card.html``: one organization's data, for its own people. Asks the network for nothing.

Everything in it comes from an organization's files and folders; Jinja escapes all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedcode.report import table
from fedcode.report.html import page

PRIVATE = "Private data of one organization: nothing of it is sent to anybody, and no ε covers it."


def render(card: Mapping[str, Any]) -> str:
    """The page; equal arguments give equal text.

    Args:
        card: what ``data-card.json`` holds; docs/data.md says what every field means.
    """
    return page("card.html.j2", card=card, private=PRIVATE, table=table)
