# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A program's folder: found by an option or the environment, and kept from other people's eyes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from fedcode.errors import ConfigError, RunError


@dataclass(frozen=True, slots=True)
class Folder:
    """The folder of a coordinator, or of an organization.

    Attributes:
        root: made by the program's `init`.
        PROGRAM: makes it.
        OWNER: whose it is, in words.
        VARIABLE: of the environment; names the folder where `--home` does not.
        SETTINGS: the file that a person writes in.
        PARTS: its own folders.
    """

    root: Path
    PROGRAM: ClassVar[str]
    OWNER: ClassVar[str]
    VARIABLE: ClassVar[str]
    SETTINGS: ClassVar[str]
    PARTS: ClassVar[tuple[str, ...]]

    @classmethod
    def find(cls, given: Path | None) -> Self:
        """The folder of ``--home``, or of the environment, or this one.

        Raises:
            ConfigError: there is no such folder there.
        """
        made = cls(given or Path(os.environ.get(cls.VARIABLE) or "."))
        if not made.toml.is_file():
            raise ConfigError(
                f"{made.root} is no {cls.OWNER}'s folder",
                f"name it: --home DIR, or {cls.VARIABLE}; `{cls.PROGRAM} init DIR` makes one",
            )
        return made

    @property
    def toml(self) -> Path:
        """The settings."""
        return self.root / self.SETTINGS

    @property
    def keys(self) -> Path:
        """Keys and certificates."""
        return self.root / "keys"

    @property
    def state(self) -> Path:
        """What the program knows: whom it deals with, and what was agreed on."""
        return self.root / "state"

    @property
    def log(self) -> Path:
        """What the program says while it runs."""
        return self.root / "log"

    def check_new(self) -> None:
        """What was left half-made is ours; a folder that holds something else is not written into.

        Raises:
            ConfigError: it does.
        """
        try:
            there = {path.name for path in self.root.iterdir()} if self.root.exists() else set()
        except OSError as error:
            raise ConfigError(f"{self.root} is no folder", "name a new one") from error
        if others := sorted(there - set(self.PARTS)):
            raise ConfigError(f"{self.root} holds something else: {others[0]}", "name a new folder")

    def make(self) -> None:
        """Makes the folder and its parts, for their owner alone; all of them, or none.

        Raises:
            OSError: one cannot be made.
        """
        made = list[Path]()
        try:
            for folder in (self.root, *(self.root / part for part in self.PARTS)):
                if not folder.exists():
                    folder.mkdir(mode=0o700, parents=True)
                    made.append(folder)
        except OSError:
            for folder in reversed(made):
                folder.rmdir()
            raise


def holds_something(folder: Path) -> bool:
    """Whether there is anything in ``folder``, which need not exist.

    Raises:
        RunError: it is no folder, and can be none.
    """
    wrong = RunError(f"{folder} cannot be a folder", "choose another --out")
    try:
        above = next(one for one in (folder, *folder.parents) if one.exists())
        found = folder.exists() and any(folder.iterdir())
    except OSError as error:
        raise wrong from error
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise wrong
    return found


def check_empty(folder: Path) -> None:
    """Whether a result can be written into ``folder``, which need not exist.

    Raises:
        RunError: it holds something, or can be no folder.
    """
    if holds_something(folder):
        raise RunError(f"{folder} is not empty", "choose another --out")
