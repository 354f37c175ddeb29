# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Who is who in a federation: the roster of names and keys, and what all of them have signed.

A roster is never changed: whoever joins, leaves or takes another key makes a new epoch, which names
the roster before it, and which every member signs anew.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedcode.errors import ConfigError
from fedcode.signing import SigningKey, canonical, signed, usable

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
COORDINATOR = "coordinator"
"""What errors and reports call it; no member has this name."""

HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Roster:
    """The members of one epoch and their keys.

    Attributes:
        federation: its name.
        epoch: from 1.
        previous: digest of the roster before; empty in the first epoch.
        coordinator: its public Ed25519 key, 64 hexadecimal digits.
        members: name and public key of each, sorted by name.

    Raises:
        ConfigError: names or keys that are not of their form, not sorted, or there twice.
    """

    federation: str
    epoch: int
    previous: str
    coordinator: str
    members: tuple[tuple[str, str], ...]

    def __post_init__(self) -> None:
        keys = [key for _, key in self.members]
        if not self.members or list(self.names) != sorted(set(self.names)):
            raise ConfigError("a roster names its members once, sorted by name")
        if len({*keys, self.coordinator}) != len(keys) + 1:
            raise ConfigError("two of a roster have the same key", "each makes a key of its own")
        if (
            COORDINATOR in self.names
            or not all(map(NAME.fullmatch, self.names))
            or not all(map(HEX.fullmatch, [*keys, self.coordinator]))
        ):
            raise ConfigError("a roster's name or key is not of its form")
        if not all(map(usable, [*keys, self.coordinator])):
            raise ConfigError(
                "a roster has a key with which everybody can sign", "its owner makes another one"
            )
        if self.epoch < 1 or (self.epoch == 1) != (self.previous == ""):
            raise ConfigError("a roster's epochs count from 1, and each names the one before")

    @property
    def names(self) -> tuple[str, ...]:
        """The members' names, sorted."""
        return tuple(name for name, _ in self.members)

    def key(self, name: str) -> str:
        """The public key of a member.

        Raises:
            KeyError: nobody of this name is in the roster.
        """
        return dict(self.members)[name]

    def plain(self) -> dict[str, Any]:
        """As JSON wants it."""
        return {
            "federation": self.federation,
            "epoch": self.epoch,
            "previous": self.previous,
            "coordinator": self.coordinator,
            "members": [list(pair) for pair in self.members],
        }

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Roster:
        """What :meth:`plain` wrote.

        Raises:
            ConfigError: it is not a roster.
        """
        try:
            members = tuple((str(name), str(key)) for name, key in values["members"])
            found = cls(
                str(values["federation"]),
                int(values["epoch"]),
                str(values["previous"]),
                str(values["coordinator"]),
                members,
            )
            same = canonical(found.plain()) == canonical(values)
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise ConfigError("this is not a roster") from error
        if not same:
            raise ConfigError("this is not a roster")
        return found

    def digest(self) -> str:
        """SHA-256 under a domain of its own, in hexadecimal."""
        return hashlib.sha256(b"fedcode/roster/1\x00" + canonical(self.plain())).hexdigest()

    def following(
        self, members: tuple[tuple[str, str], ...], coordinator: str | None = None
    ) -> Roster:
        """The next epoch."""
        key = coordinator or self.coordinator
        return Roster(self.federation, self.epoch + 1, self.digest(), key, members)

    def check_follows(self, before: Roster) -> None:
        """Whether this is the epoch after ``before``.

        Raises:
            ConfigError: it is not.
        """
        expected = (before.federation, before.epoch + 1, before.digest())
        if (self.federation, self.epoch, self.previous) != expected:
            raise ConfigError(
                f"epoch {self.epoch} of the roster does not follow epoch {before.epoch}",
                "ask for the rosters in between",
            )

    def check_later(self, before: Roster) -> None:
        """Whether this is of a later epoch; of those in between one may have seen none.

        Who was left out of a roster, or declined to sign it, has not signed its epoch.

        Raises:
            ConfigError: it is not, or names another epoch before it than ``before``.
        """
        if self.epoch == before.epoch + 1:
            self.check_follows(before)
        if self.federation != before.federation or self.epoch <= before.epoch:
            raise ConfigError(
                f"epoch {self.epoch} of the roster is not later than epoch {before.epoch}, "
                "which we have signed",
                "was the coordinator set back to an older state?",
            )


@dataclass(frozen=True, slots=True)
class Signatures:
    """What the members of a roster have signed of one document.

    Attributes:
        domain: what kind of document it is.
        by_member: signature by name.
    """

    domain: str
    by_member: Mapping[str, str]

    def adding(self, name: str, key: SigningKey, document: bytes) -> Signatures:
        """With one more."""
        made = {**self.by_member, name: key.sign(self.domain, document)}
        return Signatures(self.domain, dict(sorted(made.items())))

    def missing(self, roster: Roster, document: bytes) -> tuple[str, ...]:
        """The members that have not signed ``document``, or not with their keys."""
        return tuple(
            name
            for name, key in roster.members
            if not signed(key, self.by_member.get(name, ""), self.domain, document)
        )
