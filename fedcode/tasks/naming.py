# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What the tasks that suggest names have in common: what is read, how names are found and judged.

A record is a function whose own name is masked; its name's subtokens are to be guessed from the
subtokens of its path, its class, its head and its body. What is left of a file asks for the name of
the first class that it declares, in the same way.
"""

from __future__ import annotations

import hashlib
import math
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fedcode.corpus.language import INDENT, NEWLINE, PLACEHOLDERS
from fedcode.corpus.lexer import is_identifier
from fedcode.corpus.words import parts_of
from fedcode.errors import CorpusError
from fedcode.models.naming import END, UNKNOWN, Naming, Text
from fedcode.record import Corpus, Record, SourceFile
from fedcode.strict import Count, Fraction, Strict, checked
from fedcode.task import Labels, Metric, Metrics

Indices = NDArray[np.int64]

METRICS = (
    Metric("f1", "F1 of a name's subtokens", lower_is_better=False),
    Metric("exact", "share of names guessed as a whole", lower_is_better=False),
    Metric("class_f1", "F1 of the subtokens of a class's name", lower_is_better=False),
)

PATH, OWNER, HEAD, CALLED, RETURNED, OTHER = range(1, 7)
PARTS = 7
"""Where a subtoken stands: nowhere (padding), or in one of the places above."""

SPECIAL = ("<pad>", "<unknown>", "<end>")

_STRING = re.compile(r"""[A-Za-z]*["'`]+(.*?)["'`]+""")
_HINTS = frozenset(
    {"return", "yield", "raise", "not", "in", "is", "lambda", "await", "async", "for", "while"}
    | {"with", "del"}
)
"""Words of the language that say something of a name."""
_FOLDERS = 3
_LONGEST_NAME = 7
_TOGETHER = 128
_BEAM = 8
_TYPICAL = 3
"""Subtokens of a typical name: the public denominator of the losses."""


class NamingSettings(Strict):
    """What both networks read, and their size.

    Attributes:
        vocabulary: subtokens, the most frequent of public code.
        subtokens: longer records are cut to so many.
        embedding: width of a subtoken's embedding.
        hidden: width of the hidden layers.
        dropout: in the warm start and in training without privacy.
        classes: whether what is left of a file asks for its first class's name.
    """

    vocabulary: Count = 4000
    subtokens: Count = 120
    embedding: Count = 96
    hidden: Count = 96
    dropout: Fraction = 0.2
    classes: bool = True


@dataclass(frozen=True, slots=True)
class Question:
    """A name that is asked for.

    Attributes:
        words: subtokens of what is known, in order.
        parts: where each of them stands, from :data:`PATH` on.
        name: the name's subtokens.
        kind: of what it is the name: ``function`` or ``class``.
        own: the name as it stands there.
    """

    words: tuple[str, ...]
    parts: tuple[int, ...]
    name: tuple[str, ...]
    kind: str
    own: str


@dataclass(frozen=True, slots=True)
class Example:
    """A question as numbers.

    Attributes:
        words: shape (time,): the vocabulary's index of each subtoken, or :data:`UNKNOWN`.
        parts: shape (time,): see :class:`Question`.
        same: shape (time,): the same index, but subtokens that the vocabulary lacks are counted on
            from its size, in the order in which they first stand there.
        name: shape (steps,): the name's subtokens numbered like ``same``, and :data:`END`;
            :data:`UNKNOWN` where it is nowhere.
    """

    words: Indices
    parts: Indices
    same: Indices
    name: Indices


def question(record: Record, *, classes: bool = True) -> Question | None:
    """What is asked of ``record``; None where it has no name that could be guessed."""
    if record.kind == "function":
        *owners, last = record.name.split("#")[0].split(".")
        return _asked(record, record.tokens, last, owners, "function")
    if record.kind == "module" and classes:
        start = next(_classes(record.tokens), None)
        if start is not None:
            return _asked(record, record.tokens[start:], record.tokens[start + 1], (), "class")
    return None


def _classes(tokens: Sequence[str]) -> Iterator[int]:
    """Where a class is declared."""
    for i in range(len(tokens) - 1):
        if tokens[i] == "class" and is_identifier(tokens[i + 1]):
            yield i


def _asked(
    record: Record, tokens: Sequence[str], own: str, owners: Sequence[str], kind: str
) -> Question | None:
    name = parts_of(own)
    if not name or (own.startswith("__") and own.endswith("__")):
        return None
    found = [(PATH, w) for part in _folders(record.path) for w in parts_of(part) if part != own]
    found += [(OWNER, word) for owner in owners for word in parts_of(owner)]
    found += _read(tokens, own)
    parts, words = zip(*found, strict=True) if found else ((), ())
    return Question(words, parts, name[:_LONGEST_NAME], kind, own)


def _folders(path: str) -> list[str]:
    *folders, file = path.split("/")
    return [*folders, file.split(".")[0]][-_FOLDERS:]


def _read(tokens: Sequence[str], own: str) -> Iterator[tuple[int, str]]:
    """Places and subtokens of the head and the body; the name itself is nowhere."""
    body = next((i for i, token in enumerate(tokens) if token in (INDENT, "{")), len(tokens))
    returned = False
    for i, token in enumerate(tokens):
        if token in PLACEHOLDERS or token == ";":
            returned = returned and token not in (NEWLINE, ";")
            continue
        text = _STRING.fullmatch(token)
        inner = text[1] if text else token
        if inner == own:
            continue
        if token == "return":
            returned = True
        if token in _HINTS or text or is_identifier(token):
            called = not text and tokens[i + 1 : i + 2] == ("(",)
            inside = CALLED if called else RETURNED if returned else OTHER
            for word in parts_of(inner):
                yield HEAD if i < body else inside, word


class NamingTask(ABC):
    """Suggests names by a network that guesses one subtoken after another."""

    name: ClassVar[str]
    settings_class: ClassVar[type[NamingSettings]]
    metrics: Sequence[Metric] = METRICS
    labels: Labels = "none"

    def __init__(self, settings: Any, words: Sequence[str]) -> None:
        self.settings = settings
        self.words = (*SPECIAL, *words)
        self._index = {word: i for i, word in enumerate(self.words)}

    @classmethod
    def make(cls, settings: Mapping[str, Any], public: Corpus) -> Self:
        """The task, with the most frequent subtokens of ``public`` as its vocabulary."""
        known = checked(cls.settings_class, settings, cls.name)
        counts: Counter[str] = Counter()
        for asked in _questions(public.stream(), classes=known.classes):
            counts.update({*asked.words, *asked.name})
            counts.update(asked.name)
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        return cls(known, ranked[: known.vocabulary])

    @property
    def places(self) -> int:
        """Half of the longest record."""
        return max(1, int(self.settings.subtokens) // 2)

    def fingerprint(self) -> str:
        """SHA-256 over settings and vocabulary, and the way records are read."""
        parts = (self.name, "questions 1", self.settings.model_dump_json(), *self.words)
        return hashlib.sha256("\x00".join(parts).encode("utf-8", "surrogatepass")).hexdigest()

    @abstractmethod
    def build(self) -> nn.Module:
        """The network; what ``private`` leaves out is frozen."""

    def examples(self, records: Sequence[Record]) -> Sequence[Example]:
        """One for each record that asks for a name."""
        return [self._example(q) for q in _questions(records, classes=self.settings.classes)]

    def length(self, example: Example) -> int:
        """Number of subtokens that are read."""
        return len(example.words)

    def collate(self, examples: Sequence[Example]) -> Text:
        """Pads to the longest of ``examples``."""
        return Text(
            _padded([e.words for e in examples]),
            _padded([e.parts for e in examples]),
            _padded([e.same for e in examples]),
            _padded([e.name for e in examples]),
        )

    def losses(self, model: nn.Module, batch: Text) -> Tensor:
        """Nats of each name over a public number, shape (batch,).

        What cannot be said, for it stands neither in the vocabulary nor in the record, is free.
        """
        batch = batch.to(next(model.parameters()).device)
        said = (batch.name != 0) & (batch.name != UNKNOWN)
        chances: Tensor = model(batch)
        return -(chances * said).sum(1) / _TYPICAL

    def public_steps(self, public: Sequence[SourceFile], batch: int) -> int:
        """Steps of one pass."""
        records = (r for file in public for r in file.records)
        return math.ceil(sum(1 for _ in _questions(records, self.settings.classes)) / batch)

    def public_losses(
        self, model: nn.Module, public: Sequence[SourceFile], batch: int, order: np.random.Generator
    ) -> Iterator[Tensor]:
        """Mean losses of public records, in batches of similar length."""
        examples = self.examples([r for file in public for r in file.records])
        if not examples:
            raise CorpusError("no public record has a name", "name a larger public corpus")
        for _ in count():
            for chosen in _similar(examples, batch, order):
                yield self.losses(model, self.collate(chosen)).mean()

    def suggestions(
        self, model: nn.Module, records: Sequence[Record], most: int = 5
    ) -> list[list[tuple[str, float]]]:
        """Names for each of ``records``, the likeliest first, with how likely the network is.

        They are written as the record writes its names. A record that has none gets none.
        """
        asked = [(i, q) for i, r in enumerate(records) if (q := self._asked(r)) is not None]
        found: list[list[tuple[str, float]]] = [[] for _ in records]
        guesses = self._guesses(model, [q for _, q in asked], max(most, _BEAM))
        for (i, q), names in zip(asked, guesses, strict=True):
            found[i] = [(written(name, q), chance) for name, chance in names[:most] if name]
        return found

    def measure(self, model: nn.Module, files: Sequence[SourceFile]) -> Metrics:
        """Figures of one name for each record: the one of best expected F1 among the likeliest."""
        asked = list(_questions(chain.from_iterable(f.records for f in files), self._classes))
        guesses = self._guesses(model, asked, _BEAM)
        return measures(asked, [chosen(names) for names in guesses])

    def baselines(
        self, train: Sequence[SourceFile], test: Mapping[str, Sequence[SourceFile]]
    ) -> Mapping[str, Mapping[str, Metrics]]:
        """The most frequent name, the nearest record's, and two subtokens of the record itself."""
        return baselines(train, test, classes=self._classes)

    @property
    def _classes(self) -> bool:
        return bool(self.settings.classes)

    def _asked(self, record: Record) -> Question | None:
        return question(record, classes=self._classes)

    def _example(self, asked: Question) -> Example:
        limit = self.settings.subtokens
        own: dict[str, int] = {}
        for word in asked.words[:limit]:
            if word not in self._index:
                own.setdefault(word, len(self.words) + len(own))
        known = self._index | own if own else self._index
        words = asked.words[:limit]
        name = [known.get(word, UNKNOWN) for word in asked.name]
        return Example(
            np.array([self._index.get(word, UNKNOWN) for word in words], np.int64),
            np.array(asked.parts[:limit], np.int64),
            np.array([known[word] for word in words], np.int64),
            np.array([*name, END], np.int64),
        )

    def _guesses(
        self, model: nn.Module, asked: Sequence[Question], most: int
    ) -> list[list[tuple[tuple[str, ...], float]]]:
        model.eval()
        if not isinstance(model, Naming):
            raise TypeError("the model is not this task's")
        where = next(model.parameters()).device
        examples = [self._example(q) for q in asked]
        found: list[list[tuple[tuple[str, ...], float]]] = [[] for _ in asked]
        ranked = sorted(range(len(asked)), key=lambda i: self.length(examples[i]))
        for start in range(0, len(ranked), _TOGETHER):
            part = ranked[start : start + _TOGETHER]
            batch = self.collate([examples[i] for i in part]).to(where)
            with torch.inference_mode():
                names, chances = model.likeliest(batch, most, _LONGEST_NAME)
            for i, rows, values in zip(part, names.tolist(), chances.tolist(), strict=True):
                own = dict(zip(examples[i].same.tolist(), asked[i].words, strict=False))
                found[i] = [
                    (tuple(self._word(n, own) for n in row if n > END), math.exp(value))
                    for row, value in zip(rows, values, strict=True)
                    if math.isfinite(value)
                ]
        return found

    def _word(self, number: int, own: Mapping[int, str]) -> str:
        return self.words[number] if number < len(self.words) else own[number]


def _questions(records: Iterable[Record], classes: bool) -> Iterator[Question]:
    return (q for r in records if (q := question(r, classes=classes)) is not None)


def _padded(rows: Sequence[Indices]) -> Tensor:
    longest = max(1, *map(len, rows))
    return torch.from_numpy(np.stack([np.pad(row, (0, longest - len(row))) for row in rows]))


def _similar(
    examples: Sequence[Example], size: int, order: np.random.Generator
) -> Iterator[list[Example]]:
    """One pass in random order, in batches of similar length."""
    ranked = sorted(order.permutation(len(examples)), key=lambda i: len(examples[i].words))
    starts = order.permutation(range(0, len(ranked), size))
    return ([examples[i] for i in ranked[start : start + size]] for start in starts)


def written(name: Sequence[str], asked: Question) -> str:
    """``name`` as the present name is written: underscores before it, its case and its joints."""
    bare = asked.own.lstrip("_")
    before = asked.own[: len(asked.own) - len(bare)]
    if bare.isupper():
        return before + "_".join(name).upper()
    humps = [word.capitalize() for word in name]
    if bare[:1].isupper():
        return before + "".join(humps)
    if "_" not in bare and bare != bare.lower():
        return before + "".join([*name[:1], *humps[1:]])
    return before + "_".join(name)


def f1(guess: Sequence[str], name: Sequence[str]) -> float:
    """F1 of the subtokens of ``guess``; how often each occurs counts, and their order does not."""
    common = sum((Counter(guess) & Counter(name)).values())
    return 2 * common / (len(guess) + len(name)) if common else 0.0


def chosen(names: Sequence[tuple[tuple[str, ...], float]]) -> tuple[str, ...]:
    """The name whose F1 is best on average over ``names`` with their chances."""
    if not names:
        return ()
    return max(names, key=lambda own: sum(c * f1(own[0], other) for other, c in names))[0]


def measures(asked: Sequence[Question], guesses: Sequence[Sequence[str]]) -> Metrics:
    """Means over the functions, and over the classes; none where there are none."""
    found: dict[str, float] = {}
    pairs = list(zip(asked, guesses, strict=True))
    if functions := [(q, g) for q, g in pairs if q.kind == "function"]:
        found["f1"] = float(np.mean([f1(g, q.name) for q, g in functions]))
        found["exact"] = float(np.mean([tuple(g) == q.name for q, g in functions]))
    if classes := [(q, g) for q, g in pairs if q.kind == "class"]:
        found["class_f1"] = float(np.mean([f1(g, q.name) for q, g in classes]))
    return found


def baselines(
    train: Sequence[SourceFile], test: Mapping[str, Sequence[SourceFile]], *, classes: bool
) -> Mapping[str, Mapping[str, Metrics]]:
    """Names without a network: constant, of the nearest training record, copied."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    known = list(_questions(chain.from_iterable(f.records for f in train), classes))
    titles = ("most frequent subtoken", "nearest neighbour by tf-idf", "two subtokens by tf-idf")
    found: dict[str, dict[str, Metrics]] = {f"{title}, no privacy": {} for title in titles}
    if not known:
        return {}
    often = Counter(word for q in known for word in q.name)
    constant = (min(often, key=lambda word: (-often[word], word)),)
    vectors = TfidfVectorizer(analyzer=_body, sublinear_tf=True)
    rows = vectors.fit_transform(known)
    words = vectors.get_feature_names_out()
    for key, files in test.items():
        asked = list(_questions(chain.from_iterable(f.records for f in files), classes))
        own = vectors.transform(asked) if asked else rows[:0]
        nearest, copied = [], []
        for row in own:
            nearest.append(known[int((rows @ row.T).toarray().argmax())].name)
            best = row.indices[np.argsort(-row.data, kind="stable")[:2]]
            copied.append(tuple(words[best].tolist()))
        for title, guesses in zip(found, ([constant] * len(asked), nearest, copied), strict=True):
            found[title][key] = measures(asked, guesses)
    return found


def _body(asked: Question) -> list[str]:
    return [w for w, p in zip(asked.words, asked.parts, strict=True) if p not in (PATH, OWNER)]
