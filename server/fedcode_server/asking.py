# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Making a run: who is to take part, under which roster, and what they will be asked to sign."""

from __future__ import annotations

import json
import re
from pathlib import Path

from fedcode.errors import ConfigError, RunError
from fedcode.federation import Federation, load
from fedcode.identity import NAME, Roster
from fedcode.storage import write_json
from fedcode_server.register import Runs
from fedcode_server.registry import Registry
from fedcode_server.runs import RunFolder
from fedcode_server.settings import Home

_LAST = re.compile(r"-(\d+)$")


def ask(
    home: Home, registry: Registry, runs: Runs, federation: Path, start: Path, name: str | None
) -> RunFolder:
    """Offers a run to the members that a federation's file names.

    Args:
        home: the coordinator's folder.
        registry: who is a member.
        runs: all runs.
        federation: the file.
        start: what ``fedcode prepare`` made of it.
        name: of the run; the federation's and a number if None.

    Raises:
        ConfigError: somebody named is no member, or the files do not belong together.
        RunError: there is a run of this name.
    """
    asked, settings = load(federation).published(), home.settings()
    if asked.name != settings.federation:
        raise ConfigError(
            f"{federation} is of {asked.name}, and this is the coordinator of "
            f"{settings.federation}",
            f'write name = "{settings.federation}"',
        )
    name = name or _next(asked.name, [row.name for row in runs.all()])
    if not NAME.fullmatch(name):
        raise ConfigError(f"{name} cannot be a run's name", "1 to 64 of A-Z a-z 0-9 . _ -")
    if runs.get(name) is not None or (home.runs / name).exists():
        raise RunError(f"there is a run {name}", "choose another --name")
    roster = _roster(home, registry, asked)
    folder = RunFolder.create(home.runs / name, asked, start, roster)
    write_json(_path(home), roster.plain())
    runs.add(name)
    return folder


def _roster(home: Home, registry: Registry, federation: Federation) -> Roster:
    """The members that the federation names; a new epoch where they or their keys are others."""
    approved = {one.name: one for one in registry.members() if one.state == "approved"}
    wanted = sorted(one.name for one in federation.members)
    missing = [name for name in wanted if name not in approved]
    if missing:
        raise ConfigError(
            f"{', '.join(missing)}: no approved member", "`fedcode-server members` shows all"
        )
    members = tuple((name, approved[name].signing_key) for name in wanted)
    coordinator = home.signing_key().public
    path = _path(home)
    if not path.exists():
        return Roster(federation.name, 1, "", coordinator, members)
    last = Roster.read(json.loads(path.read_text(encoding="utf-8")))
    if (last.members, last.coordinator) == (members, coordinator):
        return last
    return last.following(members, coordinator)


def _path(home: Home) -> Path:
    return home.state / "roster.json"


def _next(federation: str, names: list[str]) -> str:
    taken = [int(found[1]) for name in names if (found := _LAST.search(name))]
    return f"{federation[:58]}-{max(taken, default=0) + 1}"
