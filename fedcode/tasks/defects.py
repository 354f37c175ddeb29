# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""`defects`: which functions are defective, and where.

Labels come with the records (see ``fedcode.corpus.labels``). Beside them, every function teaches
the network to guess its tokens: what is hard to guess is where defects are.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count, takewhile
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from numpy.typing import NDArray
from torch import Tensor, nn

from fedcode.corpus.labels import INJECTOR, InjectedBugs
from fedcode.corpus.language import DEDENT, INDENT, NEWLINE
from fedcode.corpus.tokenizer import PAD, Subwords
from fedcode.errors import CorpusError
from fedcode.models.encoder import DefectEncoder, Reading
from fedcode.record import Corpus, Record, SourceFile
from fedcode.strict import Amount, Count, Strict, checked
from fedcode.task import Judgement, Labels, Metric, Metrics
from fedcode.tasks.defect_measures import (
    METRICS,
    labelled,
    lines_baseline,
    measures,
    tokens_baseline,
)

Indices = NDArray[np.int64]

TYPICAL = 50
"""Tokens of a typical function: the public denominator of the guessing loss."""

UNKNOWN = -1
"""The place of a defect that nobody has located."""

_TOGETHER = 64
_AHEAD = 20
_AROUND = 4
"""Tokens on either side of one that is shown."""
_LAYOUT = frozenset({NEWLINE, INDENT, DEDENT})


class DefectsSettings(Strict):
    """The network and its records.

    Attributes:
        vocabulary: pieces of the byte-level BPE, trained on public code.
        table: so many tokens, the most frequent of public code, are candidates everywhere.
        token_pieces: pieces of a token that are read; longer tokens lose their end.
        embedding: width of the embeddings.
        hidden: width of each of the two GRUs.
        head: width of the layer that scores tokens.
        pointer: width of the vectors by which places are compared.
        record_tokens: longer records are cut to so many lexer tokens.
        guessing: weight of the guessing loss beside that of the labels.
        private: what is trained on private data: all but the embeddings, or the scoring layers
            alone. The rest stays as public code made it.
    """

    vocabulary: Count = 2048
    table: Count = 128
    token_pieces: Count = 5
    embedding: Count = 64
    hidden: Count = 64
    head: Count = 64
    pointer: Count = 32
    record_tokens: Count = 120
    guessing: Amount = 0.4
    private: Literal["network", "head"] = "network"


@dataclass(frozen=True, slots=True)
class Example:
    """A function as numbers.

    Attributes:
        own: shape (own, token_pieces): its tokens that the public table lacks, once each.
        tokens: shape (time,): places in the table, then in ``own``.
        label: 1 defective, 0 not.
        place: index of the token where the defect is, or :data:`UNKNOWN`.
    """

    own: Indices
    tokens: Indices
    label: int
    place: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples padded at the end; shapes as in ``DefectEncoder.forward``, the rest (batch,)."""

    own: Tensor
    tokens: Tensor
    lengths: Tensor
    labels: Tensor
    places: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same batch on ``device``."""
        parts = (self.own, self.tokens, self.lengths, self.labels, self.places)
        return Batch(*(part.to(device) for part in parts))


class DefectsTask:
    """Says how likely a function is defective; see the module."""

    name = "defects"
    metrics: Sequence[Metric] = METRICS
    labels: Labels = "defects"

    def __init__(
        self, settings: DefectsSettings, subwords: Subwords, frequent: Sequence[str]
    ) -> None:
        self.settings = settings
        self.subwords = subwords
        self.frequent = tuple(frequent)
        self._place = {token: index for index, token in enumerate(self.frequent)}

    @classmethod
    def make(cls, settings: Mapping[str, Any], public: Corpus) -> DefectsTask:
        """The task, with its vocabulary and its table of frequent tokens from ``public``."""
        known = checked(DefectsSettings, settings, cls.name)
        counts = Counter(chain.from_iterable(file.tokens for file in public.files))
        ranked = sorted(counts, key=lambda token: (-counts[token], token))
        subwords = Subwords.train(public.files, known.vocabulary)
        return cls(known, subwords, ranked[: known.table])

    @property
    def places(self) -> int:
        """Tokens of a typical function."""
        return TYPICAL

    def fingerprint(self) -> str:
        """SHA-256 over settings, vocabulary and table, and the way bugs are made."""
        own = (self.settings.model_dump_json(), self.subwords.digest)
        parts = (f"bugs {INJECTOR}", *own, *self.frequent)
        text = "\x00".join(parts).encode("utf-8", "surrogatepass")
        return hashlib.sha256(text).hexdigest()

    def build(self) -> nn.Module:
        """The network, with what ``private`` leaves out frozen."""
        s = self.settings
        table = torch.from_numpy(self._pieces(self.frequent))
        model = DefectEncoder(self.subwords.size, table, s.embedding, s.hidden, s.head, s.pointer)
        scoring = {*model.head.parameters(), *model.score.parameters()}
        for parameter in model.parameters():
            parameter.requires_grad_(s.private == "network" or parameter in scoring)
        model.embedding.weight.requires_grad_(False)
        return model

    def examples(self, records: Sequence[Record]) -> Sequence[Example]:
        """One for each labelled function."""
        known = [r for r in records if r.kind == "function" and r.label is not None and r.tokens]
        return [self._example(record) for record in known]

    def length(self, example: Example) -> int:
        """Number of lexer tokens."""
        return len(example.tokens)

    def collate(self, examples: Sequence[Example]) -> Batch:
        """Pads to the longest of ``examples``."""
        size = len(examples)
        shape = (max(1, *(len(e.own) for e in examples)), self.settings.token_pieces)
        own = np.full((size, *shape), PAD, dtype=np.int64)
        tokens = np.zeros((size, max(len(e.tokens) for e in examples)), dtype=np.int64)
        for row, example in enumerate(examples):
            own[row, : len(example.own)] = example.own
            tokens[row, : len(example.tokens)] = example.tokens
        return Batch(
            torch.from_numpy(own),
            torch.from_numpy(tokens),
            torch.tensor([len(e.tokens) for e in examples]),
            torch.tensor([float(e.label) for e in examples]),
            torch.tensor([e.place for e in examples]),
        )

    def losses(self, model: nn.Module, batch: Batch) -> Tensor:
        """Nats to say of each function that it is sound, or where it is defective, (batch,).

        Where the place is not known: that it is defective. The nats to guess its tokens are added
        with their weight.
        """
        batch = batch.to(next(model.parameters()).device)
        reading: Reading = model(batch.own, batch.tokens, batch.lengths)
        at = reading.scores.gather(1, batch.places.clamp(min=0)[:, None]).squeeze(1)
        said = torch.where(batch.places == UNKNOWN, reading.logits, at)
        verdict = F.softplus(reading.logits) - batch.labels * said
        return verdict + self.settings.guessing / TYPICAL * reading.surprise

    def public_steps(self, public: Sequence[SourceFile], batch: int) -> int:
        """Steps in which as many functions are read as ``public`` has short enough ones."""
        longest = self.settings.record_tokens
        records = (r for file in public for r in file.records if r.kind == "function")
        return max(1, sum(len(r.tokens) <= longest for r in records) // batch)

    def public_losses(
        self, model: nn.Module, public: Sequence[SourceFile], batch: int, order: np.random.Generator
    ) -> Iterator[Tensor]:
        """Functions with their labels; if none has one, with other injected bugs in each pass."""
        given = self.examples(labelled(public))
        clean = Corpus("public", tuple(public))
        for number in count():
            examples = given or self._injected(clean, number)
            if not examples:
                raise CorpusError(
                    "no public function can be given a bug", "name a larger public corpus"
                )
            for chosen in _similar(examples, batch, order):
                yield self.losses(model, self.collate(chosen)).mean()

    def measure(self, model: nn.Module, files: Sequence[SourceFile]) -> Metrics:
        """Figures on the labelled functions of ``files``; none where they are all of one kind."""
        records = labelled(files)
        examples = self.examples(records)
        if len(examples) < len(records):
            raise CorpusError("a labelled function has no tokens", "read the files again")
        chances = np.zeros(len(examples))
        for part, reading in self._readings(model, examples):
            chances[part] = torch.sigmoid(reading.logits.double()).cpu().numpy()
        return measures(chances, records)

    def judgements(
        self, model: nn.Module, records: Sequence[Record], reasons: int
    ) -> Sequence[Judgement]:
        """See :class:`fedcode.task.Judges`: tokens by how likely the defect is just there."""
        found = [Judgement(0.0, ())] * len(records)
        there = [i for i, record in enumerate(records) if record.tokens]
        examples = [self._example(records[i]) for i in there]
        for part, reading in self._readings(model, examples):
            logits, scores = reading.logits.double().cpu(), reading.scores.double().cpu()
            nothing = F.softplus(logits)
            at = (scores - nothing[:, None]).exp()
            for row, index in enumerate(part):
                record = records[there[index]]
                shares = at[row, : len(examples[index].tokens)]
                weights, places = shares.topk(min(reasons, len(shares)))
                because = zip(places.tolist(), weights.tolist(), strict=True)
                found[there[index]] = Judgement(
                    float(torch.sigmoid(logits[row])),
                    tuple((_around(record.tokens, place), weight) for place, weight in because),
                )
        return found

    def _readings(
        self, model: nn.Module, examples: Sequence[Example]
    ) -> Iterator[tuple[list[int], Reading]]:
        """What the network says of examples, some of similar length at a time, by their numbers."""
        model.eval()
        where = next(model.parameters()).device
        ranked = sorted(range(len(examples)), key=lambda i: self.length(examples[i]))
        for start in range(0, len(ranked), _TOGETHER):
            part = ranked[start : start + _TOGETHER]
            batch = self.collate([examples[i] for i in part]).to(where)
            with torch.inference_mode():
                yield part, model(batch.own, batch.tokens, batch.lengths)

    def baselines(
        self, train: Sequence[SourceFile], test: Mapping[str, Sequence[SourceFile]]
    ) -> Mapping[str, Mapping[str, Metrics]]:
        """Logistic regressions on everybody's labelled functions, without privacy."""
        return {
            "lines of code only, no privacy": lines_baseline(train, test),
            "bag of tokens, no privacy": tokens_baseline(train, test),
        }

    def _example(self, record: Record) -> Example:
        tokens = record.tokens[: self.settings.record_tokens]
        own = dict.fromkeys(token for token in tokens if token not in self._place)
        index = self._place | {token: len(self._place) + i for i, token in enumerate(own)}
        place = UNKNOWN if record.place is None else record.place
        return Example(
            self._pieces(tuple(own)),
            np.array([index[token] for token in tokens], dtype=np.int64),
            int(record.label or 0),
            place if place < len(tokens) else UNKNOWN,
        )

    def _pieces(self, tokens: Sequence[str]) -> Indices:
        """The first pieces of each token, shape (tokens, token_pieces)."""
        width = self.settings.token_pieces
        rows = np.full((len(tokens), width), PAD, dtype=np.int64)
        for row, pieces in zip(
            rows, self.subwords.encode_many((token,) for token in tokens), strict=True
        ):
            row[: len(pieces)] = pieces[:width]
        return rows

    def _injected(self, public: Corpus, number: int) -> Sequence[Example]:
        bugs = InjectedBugs(seed=number, longest=self.settings.record_tokens)
        return self.examples(bugs.label(public).records("function"))


def _around(tokens: Sequence[str], place: int) -> str:
    """A token in brackets, among those of its line that stand around it."""
    before, after = list(tokens[max(0, place - _AROUND) : place]), tokens[place + 1 :][:_AROUND]
    while not _LAYOUT.isdisjoint(before):
        before.pop(0)
    line = takewhile(lambda token: token not in _LAYOUT, after)
    return " ".join([*before, f"⟦{tokens[place]}⟧", *line])


def _similar(
    examples: Sequence[Example], size: int, order: np.random.Generator
) -> Iterator[list[Example]]:
    """One pass in random order, in batches of similar length."""
    mixed = [examples[i] for i in order.permutation(len(examples))]
    batches = []
    for start in range(0, len(mixed), size * _AHEAD):
        part = sorted(mixed[start : start + size * _AHEAD], key=lambda e: len(e.tokens))
        batches += [part[i : i + size] for i in range(0, len(part), size)]
    for index in order.permutation(len(batches)):
        yield batches[index]
