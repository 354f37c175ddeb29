# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Code that says that a language model wrote it: in its text, or by the commit it came with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from fedcode.corpus.filters.look import Block, Look

FILTER = "models"

_FIRST_LINES = 15
"""What is said so early is said of the file."""

_VERBS = ("generated", "authored", "written", "created", "produced", "assisted", "suggested")
_HOW = r"[ -]{1,2}(?:by|with|using|via|from|through)"
_WHO = (
    r"[ \t:]{1,3}"
    r"(?:(?:the|github|google|microsoft|openai'?s?|anthropic'?s?|meta|ai|from)[ \t]{1,2}){0,3}"
    r"[\[(<\"'`*_]{0,3}"
)
_SAID = re.compile(
    r"^[\W_]*(?:code |commit |change |mostly )?(?:co-?)?(?:generated|authored|written|assisted)",
    re.MULTILINE,
)
"""How a line of a message begins that may say it; others speak of what was changed."""

_ACCOUNT = re.compile(r"<([^<>\s]+@[^<>\s]+)>")
_NUMBERED = re.compile(r"\d+\+")

_PEOPLE = ("claude", "devin")
"""Names of models that people have, too."""

_NO_PERSON = r"(?=[ \t-]{1,2}(?:ai|code|opus|sonnet|haiku|v?\d))"


def blocks(look: Look, names: Sequence[str]) -> list[Block]:
    """The lines that say so."""
    by = _by(tuple(names))
    lines = {
        look.line(at)
        for verb in _VERBS
        for at in look.places(verb)
        if by.match(look.low, at + len(verb))
    }
    return [Block(FILTER, "marked", line, line, above=True) for line in sorted(lines)]


def whole(found: Sequence[Block]) -> bool:
    """Whether one of the lines speaks of the whole file."""
    return any(block.first <= _FIRST_LINES for block in found)


def of_commit(
    author: str, message: str, keys: Sequence[str], names: Sequence[str], accounts: Sequence[str]
) -> bool:
    """Whether a commit says that a model wrote it.

    By its author's address, by a trailer that names a model, or by a line of its message that says
    so first. A person may be called as a model is: such a name beside an address that is no
    model's counts where more of the model's name follows it.

    Args:
        author: the address, in lower case.
        message: subject and body.
        keys: of trailers that may name a model, in lower case.
        names: of models, in lower case.
        accounts: addresses under which models commit, in lower case.
    """
    if _is(author, accounts):
        return True
    low, by = message.lower(), _said_by(tuple(names))
    if any(by.match(low, said.end()) for said in _SAID.finditer(low)):
        return True
    for trailer in low.rpartition("\n\n")[2].split("\n"):
        key, _, value = trailer.partition(":")
        if key.strip() in keys and _names_model(value, names, accounts):
            return True
    return False


def _names_model(value: str, names: Sequence[str], accounts: Sequence[str]) -> bool:
    account = _ACCOUNT.search(value)
    if account is None:
        return bool(_named(tuple(names)).search(value))
    return _is(account[1], accounts) or bool(_no_person(tuple(names)).search(value))


def _is(address: str, accounts: Sequence[str]) -> bool:
    """Whether an address is a model's; a code host may put a number before it."""
    return _NUMBERED.sub("", address, count=1) in accounts


@cache
def _by(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"(?:{_HOW})?{_WHO}(?:{_either(names)})(?![a-z0-9])")


@cache
def _said_by(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"(?!-){_HOW}(?!:){_WHO}(?:{_either(names)})(?![a-z0-9])")


@cache
def _named(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"(?<![a-z0-9])(?:{_either(names)})(?![a-z0-9])")


@cache
def _no_person(names: tuple[str, ...]) -> re.Pattern[str]:
    sure = _either([name for name in names if name not in _PEOPLE])
    unsure = _either([name for name in names if name in _PEOPLE])
    return re.compile(rf"(?<![a-z0-9])(?:(?:{sure})(?![a-z0-9])|(?:{unsure}){_NO_PERSON})")


def _either(names: Sequence[str]) -> str:
    return "|".join(map(re.escape, sorted(names, key=len, reverse=True))) or r"(?!)"
