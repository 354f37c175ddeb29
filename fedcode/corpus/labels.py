# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Where labels come from: a labeller is given a corpus and hands back a labelled one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Protocol

from fedcode.corpus.injection import Function, attributes, sites
from fedcode.record import Corpus, Record, SourceFile


class Labeller(Protocol):
    """Says of records whether they are defective."""

    def label(self, corpus: Corpus) -> Corpus:
        """``corpus`` with labels. Units, order and fingerprint (of the data read) stay."""
        ...


INJECTOR = 2
"""Raised when other bugs would be made of the same functions."""


@dataclass(frozen=True, slots=True)
class InjectedBugs:
    """Real functions, about half of which are given one bug.

    A function is eligible if at least one pattern could strike in it and it is not too long to be
    read as a whole; all others stay unlabelled. Whether an eligible function becomes defective is
    the toss of a coin that knows its unit and ``seed`` alone, so neither its length nor its
    content, nor the order of reading, gives the label away. A function exists in one version only,
    which depends on that function alone: taking another one away changes nothing in it.

    Attributes:
        seed: of all choices. Another seed gives other bugs in another half of the functions.
        longest: functions of more lexer tokens are left unlabelled.
    """

    seed: int
    longest: int = 120

    def label(self, corpus: Corpus) -> Corpus:
        """See :class:`Labeller`."""
        return replace(corpus, files=tuple(self._label_file(file) for file in corpus.files))

    def _label_file(self, file: SourceFile) -> SourceFile:
        return replace(file, records=tuple(self._label_record(r) for r in file.records))

    def _label_record(self, record: Record) -> Record:
        if record.kind != "function" or len(record.tokens) > self.longest:
            return replace(record, label=None)
        # a bug is made of the function's own words: another function's would tell of that one
        found = sites(Function(record.tokens, attributes(record.tokens)))
        if not found:
            return replace(record, label=None)
        if self._draw(record, "defective", 2) == 0:
            return replace(record, label=0)
        patterns = [pattern for pattern in found for _ in range(pattern.weight)]
        places = found[patterns[self._draw(record, "pattern", len(patterns))]]
        site = places[self._draw(record, "site", len(places))]
        tokens = site.apply(record.tokens, self._draw(record, "choice", len(site.choices)))
        return replace(record, tokens=tokens, label=1, place=min(site.start, len(tokens) - 1))

    def _draw(self, record: Record, what: str, n: int) -> int:
        """A number from 0 to ``n`` - 1, fixed by the seed, the unit and the question."""
        text = f"{self.seed}\x00{record.unit}\x00{what}".encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") % n
