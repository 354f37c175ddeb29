# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Lists of what must not be used, that do not say what it is: digests under a salt.

A digest hides a name from whoever reads the list. It does not hide it from somebody who has the
list and guesses names: keep it where keys are kept.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from fedcode.errors import ConfigError
from fedcode.storage import write_json

What = Literal["unit", "file", "repository", "author"]
WHAT: tuple[What, ...] = ("unit", "file", "repository", "author")

FORMAT = "fedcode-erased/1"
_SALT = re.compile(r"[0-9a-f]{32}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_LINE = re.compile(r"([0-9a-f]{32}):([0-9a-f]{64})")
_PLAIN = "0" * 32
"""The salt of addresses that stand in a list as they are."""


def digest(salt: str, what: What, name: str) -> str:
    """HMAC-SHA256 of a name under a salt of 32 hexadecimal digits; addresses in lower case."""
    said = name.strip().lower() if what == "author" else name
    content = f"{what}\x00{said}".encode("utf-8", "surrogatepass")
    return hmac.new(bytes.fromhex(salt), content, hashlib.sha256).hexdigest()


def new_salt() -> str:
    """32 hexadecimal digits."""
    return os.urandom(16).hex()


@dataclass(frozen=True, slots=True)
class Denied:
    """A list.

    Attributes:
        entries: each a salt and a digest.
    """

    entries: frozenset[tuple[str, str]] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.entries)

    def holds(self, what: What, name: str) -> bool:
        """Whether ``name`` is on the list."""
        salts = {salt for salt, _ in self.entries}
        return any((salt, digest(salt, what, name)) in self.entries for salt in salts)

    def key(self) -> str:
        """A digest of all of it."""
        return hashlib.sha256(json.dumps(sorted(self.entries)).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Erased:
    """The file of what was erased: ``erased.json``.

    Attributes:
        salt: of all digests.
        digests: in order.
    """

    salt: str
    digests: tuple[str, ...] = ()

    @classmethod
    def load(cls, path: Path) -> Self:
        """What the file holds; a new, empty list if there is none.

        Raises:
            ConfigError: it is something else. Nothing may be read before it is mended.
        """
        try:
            salt, digests = _parsed(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return cls(new_salt())
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ConfigError(
                f"{path} is not what was written there", "bring it back from a backup"
            ) from error
        return cls(salt, digests)

    def having(self, what: What, name: str) -> Self:
        """With one more; the same if it is there."""
        found = digest(self.salt, what, name)
        return type(self)(self.salt, tuple(sorted({*self.digests, found})))

    def save(self, path: Path) -> None:
        """Writes it: all of it, or nothing."""
        content = {"format": FORMAT, "salt": self.salt, "digests": list(self.digests)}
        write_json(path, content)

    def denied(self) -> Denied:
        """As filters want it."""
        return Denied(frozenset((self.salt, one) for one in self.digests))


def _parsed(text: str) -> tuple[str, tuple[str, ...]]:
    content = json.loads(text)
    salt, digests = content["salt"], tuple(content["digests"])
    if content["format"] != FORMAT or not _SALT.fullmatch(salt):
        raise ValueError("another format")
    if not all(map(_DIGEST.fullmatch, digests)):
        raise ValueError("no digests")
    return salt, digests


def opted_out(path: Path) -> Denied:
    """The authors of a text file: a line each, an e-mail address or ``SALT:DIGEST``.

    Blank lines and lines that begin with ``#`` say nothing.

    Raises:
        ConfigError: the file is there and cannot be read, or a line is neither.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Denied()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read", "is it a UTF-8 text file?") from error
    return Denied(frozenset(_entries(path, text.split("\n"))))


def _entries(path: Path, lines: Iterable[str]) -> Iterable[tuple[str, str]]:
    for number, line in enumerate(lines, start=1):
        said = line.strip()
        if match := _LINE.fullmatch(said):
            yield match[1], match[2]
        elif "@" in said and not said.startswith("#"):
            yield _PLAIN, digest(_PLAIN, "author", said)
        elif said and not said.startswith("#"):
            raise ConfigError(
                f"{path}, line {number}: neither an address nor SALT:DIGEST",
                "fedcode-client opt-out ADDRESS writes one",
            )
