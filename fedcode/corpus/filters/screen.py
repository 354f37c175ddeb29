# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""All filters together, as one value that reading processes are given."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache

from fedcode.corpus.filters import (
    licences,
    markers,
    models,
    personal,
    secret_patterns,
    secret_scan,
)
from fedcode.corpus.filters.blocking import blocked, without
from fedcode.corpus.filters.denied import Denied, What
from fedcode.corpus.filters.look import Block, Look
from fedcode.corpus.language import Language, Reading
from fedcode.filters import FilterSettings
from fedcode.record import Taken

VERSION = 2
"""Raised when a filter would take something else."""

MODULE = "<module>"
OPTED_OUT, ERASED = "opted_out", "erased"
GONE = "(erased)"
"""Stands in a report for the name of what was erased, which is not kept."""

_ADDRESSES_EVERYWHERE = frozenset({"javascript", "typescript"})
"""Languages whose text between tags is code to the lexer, and in whose code no ``a@b.c`` is."""


@dataclass(frozen=True, slots=True)
class Screened:
    """A file's text after its filters.

    Attributes:
        text: with placeholders for persons; as many lines as before.
        blocks: lines of which nothing may be trained on.
        taken: the file, if it goes; else what was replaced.
        whole: whether it goes.
    """

    text: str
    blocks: tuple[Block, ...] = ()
    taken: tuple[Taken, ...] = ()
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Screen:
    """What must not be trained on.

    Attributes:
        settings: which filters are on, and how.
        people: names and addresses of a repository's authors, to be replaced wherever they stand.
        erased: units, files, repositories and authors that are gone for good.
        opted_out: authors whose code is not trained on.
        label: of the source that is read; what is erased may be named with it before its path.
    """

    settings: FilterSettings = field(default_factory=FilterSettings)
    people: frozenset[str] = frozenset()
    erased: Denied = field(default_factory=Denied)
    opted_out: Denied = field(default_factory=Denied)
    label: str = ""

    def check(self) -> None:
        """Whether everything is installed that it asks for.

        Raises:
            ConfigError: something is not.
        """
        if self.settings.deep_secrets:
            secret_scan.check_installed()

    def key(self) -> str:
        """All that makes a difference to what a file gives; nothing of a name is in it."""
        people = Denied(frozenset(("", one) for one in self.people)).key()
        # names of authors are looked at when a file has been read
        settings = self.settings.model_dump(mode="json")
        # among several sources, what was erased may be named with the label of one
        label = [self.label] if self.label and self.erased else []
        return json.dumps([VERSION, settings, people, self.erased.key(), *label], sort_keys=True)

    def author(self, address: str) -> str:
        """The filter that takes what the owner of an address wrote; empty if none does."""
        if self.erased.holds("author", address):
            return ERASED
        return OPTED_OUT if self.opted_out.holds("author", address) else ""

    @property
    def asks_for_authors(self) -> bool:
        """Whether :meth:`author` can take anything."""
        return bool(self.erased or self.opted_out)

    def by_model(self, author: str, message: str) -> bool:
        """Whether a commit's author and message say that a model wrote it."""
        settings = self.settings
        return settings.models and models.of_commit(
            author,
            message,
            settings.model_trailers,
            settings.model_names,
            settings.model_accounts,
        )

    def path(self, path: str) -> Taken | None:
        """What takes a file by its path alone: that it, or a folder above it, was erased."""
        if not self.erased:
            return None
        folders = path.split("/")[:-1]
        above = ["/".join(folders[:depth]) for depth in range(len(folders) + 1)]
        gone = self._erased("file", path) or any(
            self._erased("repository", folder) for folder in above
        )
        return Taken(path, ERASED, "", "file") if gone else None

    def _erased(self, what: What, name: str) -> bool:
        """Whether what has a name below the source was erased, with the source's label or not."""
        labelled = f"{self.label}/{name}" if name else self.label
        names = (name, labelled) if self.label else (name,)
        return any(self.erased.holds(what, one) for one in names)

    def text(self, path: str, text: str, language: Language, licence: str = "") -> Screened:
        r"""What a file's text becomes, or why the file goes.

        Args:
            path: the file.
            text: its lines end in ``\n``.
            language: what it is written in.
            licence: of the nearest folder that states one.
        """
        look = Look.at(text)
        for name, ask in self._whole(licence):
            if reason := ask(look):
                return Screened("", taken=(Taken(path, name, "", reason),), whole=True)
        settings = self.settings
        marked = models.blocks(look, settings.model_names) if settings.models else []
        if models.whole(marked):
            return Screened("", taken=(Taken(path, models.FILTER, "", "marked"),), whole=True)
        blocks = [*marked, *(secret_patterns.blocks(look) if settings.secrets else ())]
        if settings.secrets and settings.deep_secrets:
            blocks += secret_scan.blocks(text)
        if not settings.personal:
            return Screened(text, tuple(blocks))
        anywhere = language.name in _ADDRESSES_EVERYWHERE
        text, counts = personal.replaced(look, language.prose, self.people, everywhere=anywhere)
        taken = (Taken(path, personal.FILTER, "", word, n) for word, n in sorted(counts.items()))
        return Screened(text, tuple(blocks), tuple(taken))

    def _whole(self, licence: str) -> list[tuple[str, Callable[[Look], str]]]:
        """The filters that take whole files by their text, with what each asks of it."""
        settings = self.settings
        asks: list[tuple[str, Callable[[Look], str]]] = []
        if settings.generated:
            asks.append((markers.GENERATED, markers.generated))
        if settings.minified:
            asks.append((markers.MINIFIED, markers.minified))
        if settings.licences:
            asks.append((licences.FILTER, lambda look: self._licence(look, licence)))
        return asks

    def _licence(self, look: Look, above: str) -> str:
        stated = licences.of_header(look) or above
        if not stated:
            return "" if self.settings.unstated_licence else "none-stated"
        if licences.allowed(stated, _lower(self.settings.allowed_licences)):
            return ""
        return stated if licences.readable(stated) else licences.UNREADABLE

    def cut(
        self, path: str, found: Reading, blocks: Iterable[Block]
    ) -> tuple[Reading, list[Taken]]:
        """A reading without what stands in blocked lines, or was erased; and what that was.

        A line that no function has for itself takes what stands between the functions.
        """
        gone, rest = blocked(found, blocks)
        if self.erased:
            for i, function in enumerate(found.functions):
                if self._erased("unit", f"{path}::{function.name}"):
                    gone[i] = ERASED, "unit"
            if self._erased("unit", f"{path}::{MODULE}"):
                rest = ERASED, "unit"
        names = {i: GONE if gone[i][0] == ERASED else found.functions[i].name for i in gone}
        taken = [Taken(path, why[0], names[i], why[1]) for i, why in gone.items()]
        if rest:
            taken.append(Taken(path, rest[0], MODULE, rest[1]))
        return (without(found, gone.keys(), rest is not None) if taken else found), taken


@cache
def _lower(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(name.lower() for name in names)
