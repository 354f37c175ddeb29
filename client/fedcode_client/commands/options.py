# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]

Home = Annotated[
    Path,
    typer.Option(metavar="DIR", envvar="FEDCODE_CLIENT_HOME", help="The organization's folder."),
]
