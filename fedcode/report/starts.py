# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Start files as people look at them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from fedcode.start import PUBLIC, Start, file_of


def shown(public: str, starts: Sequence[Start]) -> dict[str, Any]:
    """For machines: what an agreement will name."""
    return {
        "public": public,
        "starts": [
            {
                "task": start.task,
                "file": file_of(start.task),
                "weights": len(start.weights),
                "fingerprint": start.fingerprint,
                "start": start.digest,
            }
            for start in starts
        ],
    }


def summary(folder: Path, files: int, tokens: int, starts: Sequence[Start]) -> Table:
    """A line for each file."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column()
    table.add_row(Text(str(folder / PUBLIC)), f"{files:,} files, {tokens:,} tokens of public code")
    for start in starts:
        said = f"{len(start.weights):,} weights, SHA-256 {start.digest[:16]}…"
        table.add_row(Text(str(folder / file_of(start.task))), said)
    return table
