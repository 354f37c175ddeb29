# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""`localization`: which files of a repository a report of a bug is about.

A record is a report with the files among which it is searched. Everything about it is computed from
the record alone: what a word is worth is counted among its own candidates. Where there are no
reports, a function's name stands for one, and its body is to be found among bodies of public code.

Source: Lam et al. 2015, doi:10.1109/ASE.2015.73.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fedcode.corpus.lexer import is_identifier
from fedcode.corpus.words import of_names, parts_of, together
from fedcode.errors import CorpusError
from fedcode.models.ranker import Ranker
from fedcode.record import Candidate, Corpus, Record, SourceFile, Words
from fedcode.strict import Amount, Count, Strict, checked
from fedcode.task import Labels, Metric, Metrics
from fedcode.tasks.belief import place
from fedcode.tasks.localization_features import (
    FEATURES,
    Field,
    Question,
    features,
    spread,
    words_of,
)
from fedcode.tasks.ranking_measures import METRICS, Right, Scores, measures

Values = NDArray[np.float32]
Indices = NDArray[np.int64]

MASKED = -1e4
_DECOYS = 15
_MEASURED_DECOYS = 49
_SMALLEST = 20
"""Tokens; a shorter function says too little to stand for a file."""
_TOGETHER = 8


class LocalizationSettings(Strict):
    """The network.

    Attributes:
        hidden: width of the hidden layer.
        vocabulary: words are hashed into so many.
        embedding: width of the words' vectors, which public code makes and private code leaves.
        question_words: of a question that are looked up, the most frequent first.
        file_words: of a candidate, those that tell it best from the others of its question.
        alike: weight of being like earlier reports of the same files. It is added where files are
            ranked, and never trained: a report must not be in another one's gradient.
    """

    hidden: Count = 16
    vocabulary: Count = 4096
    embedding: Count = 16
    question_words: Count = 48
    file_words: Count = 64
    alike: Amount = 0.5


@dataclass(frozen=True, slots=True)
class Example:
    """A question and its candidates as numbers.

    Attributes:
        question: shape (words,).
        known: shape (candidates, features).
        words: shape (candidates, words): padded with 0.
        right: shape (candidates,).
        alike: shape (candidates,), in [0, 1].
    """

    question: Indices
    known: Values
    words: Indices
    right: Right
    alike: Values


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples padded at the end; shapes as there, the batch first; ``there`` as ``right``."""

    question: Tensor
    known: Tensor
    words: Tensor
    right: Tensor
    there: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same batch on ``device``."""
        parts = (self.question, self.known, self.words, self.right, self.there)
        return Batch(*(part.to(device) for part in parts))


class LocalizationTask:
    """Ranks the files that a report may be about; see the module."""

    name = "localization"
    metrics: Sequence[Metric] = METRICS
    labels: Labels = "none"

    def __init__(self, settings: LocalizationSettings, bodies: Sequence[Candidate]) -> None:
        self.settings = settings
        self._bodies = tuple(bodies)

    @classmethod
    def make(cls, settings: Mapping[str, Any], public: Corpus) -> LocalizationTask:
        """The task, with the bodies of ``public`` to search among."""
        known = checked(LocalizationSettings, settings, cls.name)
        return cls(known, [body for record in _named(public.stream()) if (body := _body(record))])

    @property
    def places(self) -> int:
        """Candidates of a typical question."""
        return 100

    def fingerprint(self) -> str:
        """SHA-256 over the settings and the public bodies."""
        digest = hashlib.sha256(f"features 1\x00{self.settings.model_dump_json()}".encode())
        for body in self._bodies:
            words = " ".join(f"{word} {times}" for word, times in body.words.identifiers.items())
            digest.update(f"\x00{words}".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def build(self) -> nn.Module:
        """The network; the words' vectors are frozen: public code alone makes them."""
        s = self.settings
        model = Ranker(len(FEATURES), s.hidden, s.vocabulary, s.embedding)
        for table in (model.asked, model.found):
            table.weight.requires_grad_(False)
        return model

    def examples(self, records: Sequence[Record]) -> Sequence[Example]:
        """One for each report whose file is among its candidates, and each named function."""
        return [self._example(*one) for record in records if (one := self._asked(record))]

    def length(self, example: Example) -> int:
        """Number of candidates."""
        return len(example.right)

    def collate(self, examples: Sequence[Example]) -> Batch:
        """Pads to the most candidates of ``examples``."""
        size, most = len(examples), max(len(e.right) for e in examples)
        question = np.zeros((size, self.settings.question_words), np.int64)
        words = np.zeros((size, most, self.settings.file_words), np.int64)
        known = np.zeros((size, most, len(FEATURES)), np.float32)
        right, there = np.zeros((size, most), np.bool_), np.zeros((size, most), np.bool_)
        for row, example in enumerate(examples):
            number = len(example.right)
            question[row, : len(example.question)] = example.question
            words[row, :number] = example.words
            known[row, :number] = example.known
            right[row, :number] = example.right
            there[row, :number] = True
        return Batch(*map(torch.from_numpy, (question, known, words, right, there)))

    def losses(self, model: nn.Module, batch: Batch) -> Tensor:
        """Nats to say which file is right, the mean where several are, shape (batch,)."""
        return _losses(model, batch)

    def public_steps(self, public: Sequence[SourceFile], batch: int) -> int:
        """Steps of one pass over the public functions that have a name."""
        return math.ceil(sum(1 for _ in _named(r for f in public for r in f.records)) / batch)

    def public_losses(
        self, model: nn.Module, public: Sequence[SourceFile], batch: int, order: np.random.Generator
    ) -> Iterator[Tensor]:
        """Mean losses of public functions."""
        examples = self.examples(list(_named(r for f in public for r in f.records)))
        if not examples:
            raise CorpusError(
                f"no public function is of use to {self.name}", "set warm_start.epochs = 0.0"
            )
        for _ in count():
            chosen = order.permutation(len(examples))
            for start in range(0, len(chosen), batch):
                own = [examples[i] for i in chosen[start : start + batch]]
                yield _losses(model, self.collate(own), learn_words=True).mean()

    def rankings(self, model: nn.Module, examples: Sequence[Example]) -> list[Scores]:
        """Scores of each example's candidates, shape (candidates,)."""
        model.eval()
        where = next(model.parameters()).device
        found: list[Scores] = []
        for start in range(0, len(examples), _TOGETHER):
            part = examples[start : start + _TOGETHER]
            batch = self.collate(part).to(where)
            with torch.inference_mode():
                scores = model(batch.question, batch.known, batch.words).double().cpu().numpy()
            found += [
                row[: len(one.right)] + self.settings.alike * one.alike
                for row, one in zip(scores, part, strict=True)
            ]
        return found

    def ranked(
        self, model: nn.Module, question: Question, candidates: Sequence[Candidate]
    ) -> list[tuple[Candidate, float]]:
        """The candidates, the likeliest first, each with its share of all, by the scores."""
        example = self._example(question, candidates)
        (scores,) = self.rankings(model, [example])
        shares = np.exp(scores - scores.max())
        order = np.argsort(-scores, kind="stable").tolist()
        return [(candidates[i], float(shares[i] / shares.sum())) for i in order]

    def measure(self, model: nn.Module, files: Sequence[SourceFile]) -> Metrics:
        """Figures on reports; where there is none, on functions among others of ``files``."""
        asked = self._measured(files)
        examples = [self._example(*one) for one in asked]
        return measures(
            [(s, e.right) for s, e in zip(self.rankings(model, examples), examples, strict=True)]
        )

    def baselines(
        self,
        train: Sequence[SourceFile],  # noqa: ARG002
        test: Mapping[str, Sequence[SourceFile]],
    ) -> Mapping[str, Mapping[str, Metrics]]:
        """The revised vector space model, and BM25 with named files: nothing is learned."""
        asked = {name: self._measured(files) for name, files in test.items()}
        return {
            title: {name: measures([score(*one) for one in own]) for name, own in asked.items()}
            for title, score in (
                ("revised vector space model", _vector_space),
                ("BM25 and file names", _bm25),
            )
        }

    def _measured(self, files: Sequence[SourceFile]) -> list[tuple[Question, Sequence[Candidate]]]:
        records = [record for file in files for record in file.records]
        asked = [one for r in records if r.kind == "report" and (one := self._asked(r))]
        if asked:
            return asked
        own = [(record, body) for record in _named(records) if (body := _body(record))]
        others = [body for _, body in own]
        return [
            (_question(record), _among(record, body, others, _MEASURED_DECOYS))
            for record, body in own
        ]

    def _asked(self, record: Record) -> tuple[Question, Sequence[Candidate]] | None:
        """What is asked, and among what; None where a record is of no use."""
        if record.kind == "report":
            right = any(one.right for one in record.candidates)
            text = " ".join(record.tokens)
            return (Question(record.name, text), record.candidates) if right else None
        body = _body(record) if _is_named(record) else None
        if body is None or not self._bodies:
            return None
        return _question(record), _among(record, body, self._bodies, _DECOYS)

    def _example(self, question: Question, candidates: Sequence[Candidate]) -> Example:
        s = self.settings
        asked = together(question.text)
        every = [words_of(one) for one in candidates]
        holding = Counter(word for one in every for word in one)
        words = np.zeros((len(every), s.file_words), np.int64)
        for row, one in enumerate(every):
            worth = {
                word: (1 + math.log(times)) * math.log(1 + len(every) / holding[word])
                for word, times in one.items()
            }
            chosen = heapq.nsmallest(s.file_words, worth, key=lambda word: (-worth[word], word))
            words[row, : len(chosen)] = [self._number(word) for word in chosen]
        often = heapq.nsmallest(s.question_words, asked, key=lambda word: (-asked[word], word))
        return Example(
            np.array([self._number(word) for word in often], np.int64),
            features(question, candidates),
            words,
            np.array([one.right for one in candidates]),
            spread(np.array([one.alike for one in candidates])).astype(np.float32),
        )

    def _number(self, word: str) -> int:
        return 1 + place(word, self.settings.vocabulary - 1)


def _losses(model: nn.Module, batch: Batch, *, learn_words: bool = False) -> Tensor:
    batch = batch.to(next(model.parameters()).device)
    scores = model(batch.question, batch.known, batch.words, learn_words=learn_words)
    nats: Tensor = -scores.masked_fill(~batch.there, MASKED).log_softmax(1)
    return (nats * batch.right).sum(1) / batch.right.sum(1)


def _vector_space(question: Question, candidates: Sequence[Candidate]) -> tuple[Scores, Right]:
    field = Field.of(words_of(one) for one in candidates)
    return field.vector_space(together(question.text)), _right(candidates)


def _bm25(question: Question, candidates: Sequence[Candidate]) -> tuple[Scores, Right]:
    scores = spread(Field.of(words_of(one) for one in candidates).bm25(together(question.text)))
    named = features(question, candidates)[:, FEATURES.index("file_named")]
    return scores + named / 2, _right(candidates)


def _right(candidates: Sequence[Candidate]) -> Right:
    return np.array([one.right for one in candidates])


# Functions that stand for reports.


def _is_named(record: Record) -> bool:
    last = record.name.rpartition(".")[2].partition("#")[0]
    own = len(record.tokens) >= _SMALLEST and len(parts_of(last)) > 1
    return record.kind == "function" and own and not last.startswith("__")


def _named(records: Iterator[Record] | Sequence[Record]) -> Iterator[Record]:
    return (record for record in records if _is_named(record))


def _question(record: Record) -> Question:
    words = " ".join(parts_of(record.name.rpartition(".")[2].partition("#")[0]))
    return Question(words, words)


def _body(record: Record) -> Candidate | None:
    """What a function is made of, its own name left out; None where nothing is left."""
    own = record.name.rpartition(".")[2].partition("#")[0]
    identifiers, names = of_names(
        token for token in record.tokens if is_identifier(token) and token != own
    )
    if not identifiers:
        return None
    return Candidate("", Words(identifiers, names, {}, {}, record.lines), right=True)


def _among(
    record: Record, body: Candidate, others: Sequence[Candidate], number: int
) -> Sequence[Candidate]:
    """A body among others, all chosen by the record alone."""
    seed = hashlib.sha256("\x00".join(record.tokens).encode("utf-8", "surrogatepass")).digest()
    draw = np.random.default_rng(int.from_bytes(seed[:8], "big"))
    chosen = draw.choice(len(others), min(number, len(others)), replace=False).tolist()
    found = [replace(others[i], right=False) for i in chosen if others[i].words != body.words]
    found.insert(int(draw.integers(len(found) + 1)), body)
    return tuple(found)
