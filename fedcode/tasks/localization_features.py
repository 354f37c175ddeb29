# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What is known of each candidate, given a question: numbers in [0, 1], from both alone.

Nothing is learned here, and no other question is looked at: what a word is worth is counted among
the candidates of the same question.

Sources: the revised vector space model of Zhou et al. 2012, doi:10.1109/ICSE.2012.6227210; names,
recency and frequency of fixes as in Lam et al. 2015, doi:10.1109/ASE.2015.73; BM25 as in Robertson
and Zaragoza 2009, doi:10.1561/1500000019.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedcode.corpus.words import counted, together
from fedcode.record import Candidate

Values = NDArray[np.float32]
Numbers = NDArray[np.float64]

FEATURES = (
    *("vector_space", "all", "identifiers", "names", "prose", "definitions", "path"),
    *("all_of_summary", "definitions_of_summary", "path_of_summary"),
    *("file_named", "path_named", "defined_named", "rarest_named", "last_named"),
    *("size", "changes", "fixes", "fixed_lately", "changed_lately", "package"),
)
"""In the order of the columns."""

_K, _B = 1.2, 0.75
_WEEK = 7.0
_SHORTEST_NAME = 4
_NAME = re.compile(r"[^\W\d]\w*")
_PACKAGE = frozenset({"__init__", "index", "mod", "package-info"})


@dataclass(frozen=True, slots=True)
class Question:
    """A report, or what stands for one.

    Attributes:
        summary: its first line.
        text: all of it.
    """

    summary: str
    text: str


@dataclass(frozen=True, slots=True)
class Field:
    """One kind of words of all candidates.

    Attributes:
        counts: for each candidate.
        sizes: number of words of each, shape (candidates,).
    """

    counts: Sequence[Mapping[str, int]]
    sizes: Numbers

    @classmethod
    def of(cls, counts: Iterable[Mapping[str, int]]) -> Field:
        """Of each candidate's words."""
        every = list(counts)
        return cls(every, np.array([sum(one.values()) for one in every], dtype=np.float64))

    def times(self, word: str) -> Numbers:
        """How often it stands in each candidate, shape (candidates,)."""
        return np.array([one.get(word, 0) for one in self.counts], dtype=np.float64)

    def bm25(self, question: Mapping[str, int]) -> Numbers:
        """Scores, shape (candidates,); a question's word counts by the log of its number."""
        number = len(self.counts)
        long = 1 - _B + _B * self.sizes / max(1e-9, float(self.sizes.mean()))
        scores = np.zeros(number)
        for word, asked in question.items():
            times = self.times(word)
            holding = np.count_nonzero(times)
            if holding:
                worth = math.log(1 + (number - holding + 0.5) / (holding + 0.5))
                scores += worth * math.log1p(asked) * times * (_K + 1) / (times + _K * long)
        return scores

    def vector_space(self, question: Mapping[str, int]) -> Numbers:
        """The revised vector space model's scores, shape (candidates,): longer files count more."""
        number = len(self.counts)
        holding = Counter(word for one in self.counts for word in one)
        worth = {word: math.log(number / times) for word, times in holding.items()}

        def weight(word: str, times: int) -> float:
            return (1 + math.log(times)) * worth.get(word, 0.0)

        asked = {word: weight(word, times) for word, times in question.items()}
        own = math.sqrt(sum(value**2 for value in asked.values())) or 1.0
        scores = np.zeros(number)
        for place, one in enumerate(self.counts):
            both = sum(asked[word] * weight(word, one[word]) for word in asked if word in one)
            if both:
                size = math.sqrt(sum(weight(word, times) ** 2 for word, times in one.items()))
                scores[place] = both / (own * (size or 1.0))
        return np.asarray(scores / (1 + np.exp(-spread(self.sizes))))


def features(question: Question, candidates: Sequence[Candidate]) -> Values:
    """One row for each candidate, shape (candidates, features), in [0, 1]."""
    asked, summary = together(question.text), together(question.summary)
    fields = {
        "identifiers": Field.of(one.words.identifiers for one in candidates),
        "names": Field.of(one.words.names for one in candidates),
        "prose": Field.of(one.words.prose for one in candidates),
        "definitions": Field.of(_parts_of_definitions(one) for one in candidates),
        "path": Field.of(counted(one.path.replace("/", " "))[0] for one in candidates),
        "all": Field.of(words_of(one) for one in candidates),
    }
    columns = {name: spread(field.bm25(asked)) for name, field in fields.items()}
    columns |= {
        f"{name}_of_summary": spread(fields[name].bm25(summary))
        for name in ("all", "definitions", "path")
    }
    columns["vector_space"] = spread(fields["all"].vector_space(asked))
    columns |= _named(question.text.lower(), candidates) | _history(candidates)
    return np.stack([columns[name] for name in FEATURES], axis=1).astype(np.float32)


def words_of(candidate: Candidate) -> Counter[str]:
    """All words of a candidate, of whatever kind."""
    own = candidate.words
    found = Counter(own.identifiers)
    for more in (own.names, own.prose):
        found.update(more)
    return found


def spread(values: Numbers) -> Numbers:
    """The same between 0 and 1; zeros where all are equal."""
    low, high = float(values.min(initial=0.0)), float(values.max(initial=0.0))
    return (values - low) / (high - low) if high > low else np.zeros_like(values)


def _parts_of_definitions(candidate: Candidate) -> Mapping[str, int]:
    return counted(" ".join(candidate.words.definitions))[0]


def _named(text: str, candidates: Sequence[Candidate]) -> dict[str, Numbers]:
    """What a text says by name: files, paths, and what is defined in them."""
    words = set(_NAME.findall(text))
    holding = Counter(name for one in candidates for name in one.words.definitions)
    rare: Callable[[str], float] = lambda name: math.log(1 + len(candidates) / holding[name])  # noqa: E731
    rows = []
    for one in candidates:
        stem = one.path.rpartition("/")[2].partition(".")[0].lower()
        worth = [
            rare(name)
            for name in one.words.definitions
            if name in words and len(name) >= _SHORTEST_NAME
        ]
        rows.append(
            (
                float(stem in words and stem not in _PACKAGE),
                _path_named(one.path.lower(), text),
                sum(worth),
                max(worth, default=0.0),
                text.rfind(one.path.lower().partition("/")[2] or one.path.lower()),
            )
        )
    file, path, defined, rarest, last = np.array(rows, dtype=np.float64).T
    return {
        "file_named": file,
        "path_named": path,
        "defined_named": spread(defined),
        "rarest_named": spread(rarest),
        "last_named": ((last >= 0) & (last == last.max())).astype(np.float64),
    }


def _path_named(path: str, text: str) -> float:
    """1 for a whole path or module, a third for its last two parts."""
    module = path.rpartition(".")[0].replace("/", ".")
    ends = ("/".join(path.split("/")[-2:]), ".".join(module.split(".")[-2:]))
    whole = path in text or module in text
    return (2 * whole + any(end in text for end in ends)) / 3


def _history(candidates: Sequence[Candidate]) -> dict[str, Numbers]:
    def of(value: Callable[[Candidate], float]) -> Numbers:
        return np.array([value(one) for one in candidates], dtype=np.float64)

    def lately(days: float | None) -> float:
        return 0.0 if days is None else 1 / (1 + max(0.0, days) / _WEEK)

    return {
        "size": spread(np.log1p(of(lambda one: one.words.lines))),
        "changes": spread(np.log1p(of(lambda one: one.changes))),
        "fixes": spread(np.log1p(of(lambda one: one.fixes))),
        "fixed_lately": of(lambda one: lately(one.fixed)),
        "changed_lately": of(lambda one: lately(one.changed)),
        "package": of(lambda one: one.path.rpartition("/")[2].partition(".")[0] in _PACKAGE),
    }
