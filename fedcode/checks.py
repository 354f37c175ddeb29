# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What the programs' doctors do: checks, each by itself, and what to do about what is wrong."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import typer

from fedcode.errors import FedcodeError

Subject = TypeVar("Subject")

_FREE = 2 << 30


@dataclass(frozen=True, slots=True)
class Check:
    """One of them.

    Attributes:
        what: was looked at, and found.
        good: whether it is as it should be.
        hint: what to do about it; empty where it is good.
    """

    what: str
    good: bool
    hint: str = ""

    def plain(self) -> dict[str, Any]:
        """As JSON wants it."""
        return asdict(self)


def examined(looks: Iterable[Callable[[Subject], Check]], subject: Subject) -> Iterator[Check]:
    """What each of ``looks`` finds, once; an error of ours is a finding like any other."""
    told = set[str]()
    for look in looks:
        try:
            found = look(subject)
        except FedcodeError as error:
            found = Check(str(error), False, error.hint)
        if found.what not in told:
            told.add(found.what)
            yield found


def private(keys: Iterable[Path]) -> Check:
    """Whether nobody but their owner can read ``keys``, which are there."""
    for path in keys:
        if path.stat().st_mode & 0o077:
            return Check(f"others can read {path}", False, f"chmod 600 {shlex.quote(str(path))}")
    return Check("keys: there, and readable for their owner alone", True)


def room(folder: Path, hint: str) -> Check:
    """Whether the disk of ``folder`` has room, and else what is to be done."""
    free = shutil.disk_usage(folder).free
    good = free >= _FREE
    return Check(f"{free / 2**30:.0f} GiB free in {folder}", good, "" if good else hint)


def show(checks: Iterable[Check], *, as_json: bool) -> None:
    """Prints them, and leaves with exit code 1 if one is not good."""
    found = list(checks)
    if as_json:
        print(json.dumps([one.plain() for one in found]))  # noqa: T201
    else:
        for one in found:
            print(f"{'ok  ' if one.good else 'BAD '} {one.what}")  # noqa: T201
            if not one.good:
                print(f"     hint: {one.hint}")  # noqa: T201
    if not all(one.good for one in found):
        raise typer.Exit(1)
