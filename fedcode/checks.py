# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What the programs' doctors do: checks, each by itself, and what to do about what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import typer

from fedcode.errors import FedcodeError

Subject = TypeVar("Subject")


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
    """What each of ``looks`` finds; an error of ours is a finding like any other."""
    for look in looks:
        try:
            yield look(subject)
        except FedcodeError as error:
            yield Check(str(error), False, error.hint)


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
