# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""`completion`: the deep software language model, a recurrent network over subword pieces.

White et al. 2015 (MSR), with an open vocabulary after Karampatsis et al. 2020 (ICSE): every
character of a token is paid for, so bits per lexer token compare across vocabularies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from numpy.typing import NDArray
from torch import Tensor, nn

from fedcode.corpus.language import NEWLINE
from fedcode.corpus.tokenizer import PAD, Subwords
from fedcode.models.recurrent import RecurrentLanguageModel, State
from fedcode.record import Corpus, Record, SourceFile
from fedcode.strict import Count, Fraction, Strict, checked
from fedcode.task import Continuation, Labels, Metric, Metrics
from fedcode.tasks.language_measures import METRICS, LanguageMeasures
from fedcode.tasks.ngram import kneser_ney_baseline

Pieces = NDArray[np.int32]

_CHUNK, _FILES = 64, 16
_SPAN, _AS_RECORDS = 64, 0.2
_BEAM = 8
_LINE_ENDS = frozenset({NEWLINE, ";", "{", "}"})


class CompletionSettings(Strict):
    """The network and its records.

    Attributes:
        vocabulary: pieces of the byte-level BPE, trained on public code.
        cell: recurrent cell.
        embedding: width of the (tied) embeddings.
        hidden: width of the recurrent layers.
        layers: recurrent layers.
        dropout: in the warm start and in training without privacy.
        record_pieces: longer records are cut to so many pieces.
        private: what is trained on private data: every weight, or all but the embeddings,
            which then stay as the public corpus made them.
    """

    vocabulary: Count = 2048
    cell: Literal["gru", "lstm"] = "gru"
    embedding: Count = 128
    hidden: Count = 256
    layers: Count = 1
    dropout: Fraction = 0.0
    record_pieces: Count = 128
    private: Literal["all", "recurrent"] = "recurrent"


class CompletionTask:
    """Predicts the next piece of source code; see the module."""

    name = "completion"
    metrics: Sequence[Metric] = METRICS
    labels: Labels = "none"

    def __init__(
        self, settings: CompletionSettings, subwords: Subwords, frequencies: NDArray[np.float32]
    ) -> None:
        self.settings = settings
        self.subwords = subwords
        self._frequencies = frequencies

    @classmethod
    def make(cls, settings: Mapping[str, Any], public: Corpus) -> CompletionTask:
        """The task with its vocabulary trained on ``public``."""
        known = checked(CompletionSettings, settings, cls.name)
        subwords = Subwords.train(public.files, known.vocabulary)
        counts = np.ones(subwords.size)
        for pieces in subwords.encode_many(f.tokens for f in public.files):
            counts += np.bincount(pieces, minlength=subwords.size)
        return cls(known, subwords, (counts / counts.sum()).astype(np.float32))

    @property
    def places(self) -> int:
        """Half of the longest record."""
        return max(1, self.settings.record_pieces // 2)

    def fingerprint(self) -> str:
        """SHA-256 over settings, vocabulary and the pieces' frequencies in public code."""
        text = self.settings.model_dump_json() + self.subwords.digest
        return hashlib.sha256(text.encode() + self._frequencies.tobytes()).hexdigest()

    def build(self) -> nn.Module:
        """The network, its output at the pieces' frequencies in public code.

        The embeddings are frozen where ``private = "recurrent"``.
        """
        s = self.settings
        model = RecurrentLanguageModel(
            self.subwords.size, s.embedding, s.hidden, s.layers, s.cell, s.dropout, PAD
        )
        model.output.bias.data.copy_(torch.from_numpy(np.log(self._frequencies)))
        model.embedding.weight.requires_grad_(s.private == "all")
        return model

    def examples(self, records: Sequence[Record]) -> Sequence[Pieces]:
        """Each record's first pieces; records of fewer than two pieces give none."""
        limit = self.settings.record_pieces
        encoded = self.subwords.encode_many(r.tokens[:limit] for r in records)
        return [pieces[:limit] for pieces in encoded if len(pieces) > 1]

    def length(self, example: Pieces) -> int:
        """Number of pieces."""
        return len(example)

    def collate(self, examples: Sequence[Pieces]) -> Tensor:
        """Pieces padded at the end, shape (batch, time)."""
        batch = np.full((len(examples), max(map(len, examples))), PAD, dtype=np.int64)
        for row, example in zip(batch, examples, strict=True):
            row[: len(example)] = example
        return torch.from_numpy(batch)

    def losses(self, model: nn.Module, batch: Tensor) -> Tensor:
        """Summed cross-entropy of each record in nats over the public record length, (batch,)."""
        batch = batch.to(next(model.parameters()).device)
        each, _ = _own(model).losses(_shifted(batch), batch)
        return each.sum(1) / self.settings.record_pieces

    def public_steps(self, public: Sequence[SourceFile], batch: int) -> int:
        """Steps of one pass, see :meth:`public_losses`."""
        spans = sum(_spans(len(p)) for p in self.subwords.encode_many(f.tokens for f in public))
        return max(1, spans // batch)

    def public_losses(
        self, model: nn.Module, public: Sequence[SourceFile], batch: int, order: np.random.Generator
    ) -> Iterator[Tensor]:
        """Whole files in spans of 64 pieces, ``batch`` files side by side.

        The state is carried from span to span and starts anew with each file (back-propagation
        through time, truncated at the spans). A share of the functions comes as records do: from
        the zero state.
        """
        model = _own(model)
        where = next(model.parameters()).device
        encoded = self.subwords.encode_many(t for f in public for t in _pieces_of_code(f, order))
        rows = _Rows(encoded, batch, order)
        state: State | None = None
        while True:
            pieces, fresh = rows.next()
            targets = torch.from_numpy(pieces[:, 1:]).to(where)
            given = torch.from_numpy(pieces[:, :-1]).to(where)
            each, state = model.losses(given, targets, _restarted(state, fresh))
            yield each.sum() / (targets != PAD).sum()
            state = _detached(state)

    def measure(self, model: nn.Module, files: Sequence[SourceFile]) -> Metrics:
        """Whole files, each from an empty context; the state is carried to the file's end."""
        measures = LanguageMeasures(self.subwords.ends)
        model = _own(model)
        model.eval()
        encoded = [(f, self.subwords.encode(f.tokens)) for f in files if f.tokens]
        encoded.sort(key=lambda pair: -len(pair[1]))
        for start in range(0, len(encoded), _FILES):
            group = encoded[start : start + _FILES]
            scores = self._score(model, [pieces for _, pieces in group])
            for (file, pieces), (bits, ranks) in zip(group, scores, strict=True):
                measures.add(pieces, -bits, ranks, file.tokens)
        return measures.metrics()

    def verbatim(
        self, model: nn.Module, records: Sequence[Record], given: int, asked: int
    ) -> tuple[int, int]:
        """See :class:`fedcode.task.Generates`; the likeliest piece is taken, one by one."""
        model = _own(model)
        model.eval()
        encoded = self.subwords.encode_many(r.tokens[: given + asked] for r in records)
        long = [pieces[: given + asked] for pieces in encoded if len(pieces) >= given + asked]
        if not long:
            return 0, 0
        batch = self.collate(long).to(next(model.parameters()).device)
        written = []
        with torch.inference_mode():
            logits, state = model.predict(_shifted(batch[:, : given + 1]), None)
            for _ in range(asked):
                written.append(logits[:, -1:].argmax(-1))
                logits, state = model.predict(written[-1], state)
        same = (torch.cat(written, dim=1) == batch[:, given:]).all(dim=1)
        return len(long), int(same.sum())

    def continuations(
        self, model: nn.Module, tokens: Sequence[str], most: int = 3, longest: int = 24
    ) -> list[Continuation]:
        """How a file goes on up to the end of a line, by beam search.

        Args:
            model: the network.
            tokens: of the file from its beginning.
            most: so many.
            longest: in pieces, after which one is cut short.

        Returns:
            The likeliest first. A line's end is none of their tokens, unless it comes first.
        """
        model = _own(model)
        model.eval()
        where = next(model.parameters()).device
        given = torch.from_numpy(self.subwords.encode(tokens).astype(np.int64))[None].to(where)
        beams, ended = [_Beam((), 0.0)], list[_Beam]()
        with torch.inference_mode():
            begun = torch.cat([torch.full_like(given[:, :1], PAD), given], dim=1)
            logits, state = model.predict(begun, None)
            for _ in range(longest):
                logits[:, -1, PAD] = -torch.inf
                nats = logits[:, -1].double().log_softmax(-1).cpu()
                total = nats + torch.tensor([b.nats for b in beams])[:, None]
                values, places = total.flatten().topk(min(_BEAM, total.numel()))
                parents = places // total.shape[1]
                found = [
                    _Beam((*beams[parent].pieces, piece), value)
                    for parent, piece, value in zip(
                        parents.tolist(),
                        (places % total.shape[1]).tolist(),
                        values.tolist(),
                        strict=True,
                    )
                ]
                open_ = [i for i, beam in enumerate(found) if not self._is_over(beam.pieces)]
                ended += [beam for beam in found if self._is_over(beam.pieces)]
                best = sorted((beam.nats for beam in ended), reverse=True)[:most]
                if not open_ or (len(best) == most and found[open_[0]].nats < best[-1]):
                    break
                beams = [found[i] for i in open_]
                state = _rows(state, parents[open_].to(where))
                last = torch.tensor([[beam.pieces[-1]] for beam in beams], device=where)
                logits, state = model.predict(last, state)
            else:
                ended += beams
        ended.sort(key=lambda beam: -beam.nats)
        return [
            Continuation(self._said(beam.pieces), float(np.exp(beam.nats))) for beam in ended[:most]
        ]

    def _is_over(self, pieces: Sequence[int]) -> bool:
        """Whether a line has come to its end; one may begin with the end of the line before."""
        if not self.subwords.ends[pieces[-1]]:
            return False
        tokens = self.subwords.decode(pieces)
        return tokens[-1] in _LINE_ENDS and tokens != [NEWLINE]

    def _said(self, pieces: Sequence[int]) -> tuple[str, ...]:
        tokens = self.subwords.decode(pieces)
        return tuple(tokens[:-1] if tokens[-1] == NEWLINE else tokens)

    def baselines(
        self, train: Sequence[SourceFile], test: Mapping[str, Sequence[SourceFile]]
    ) -> Mapping[str, Mapping[str, Metrics]]:
        """Kneser–Ney 5-grams over the same pieces, trained on everybody's files without privacy."""
        return {"Kneser–Ney 5-gram, no privacy": kneser_ney_baseline(self.subwords, train, test)}

    def _score(
        self, model: RecurrentLanguageModel, pieces: Sequence[Pieces]
    ) -> list[tuple[NDArray[np.float64], NDArray[np.int64]]]:
        """Bits and rank of each piece of files given longest first."""
        where = next(model.parameters()).device
        batch = self.collate(pieces).to(where)
        shifted = _shifted(batch)
        state: State | None = None
        bits: list[Tensor] = []
        ranks: list[Tensor] = []
        with torch.inference_mode():
            for start in range(0, batch.shape[1], _CHUNK):
                alive = sum(len(p) > start for p in pieces)
                targets = batch[:alive, start : start + _CHUNK]
                state = _first(state, alive)
                logits, state = model.predict(shifted[:alive, start : start + _CHUNK], state)
                b, r = _bits_and_ranks(logits, targets)
                bits.append(_padded(b, len(pieces)))
                ranks.append(_padded(r, len(pieces)))
        all_bits = torch.cat(bits, 1).double().cpu().numpy()
        all_ranks = torch.cat(ranks, 1).cpu().numpy()
        return [(all_bits[i, : len(p)], all_ranks[i, : len(p)]) for i, p in enumerate(pieces)]


class _Beam(NamedTuple):
    """Pieces that code may go on with, and the log of their chance."""

    pieces: tuple[int, ...]
    nats: float


def _shifted(batch: Tensor) -> Tensor:
    """What the network reads: the start mark, then everything but the last piece."""
    return torch.cat([torch.full_like(batch[:, :1], PAD), batch[:, :-1]], dim=1)


def _bits_and_ranks(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    right = logits.gather(-1, targets.unsqueeze(-1))
    bits = (torch.logsumexp(logits, -1) - right.squeeze(-1)) / np.log(2)
    return bits, (logits > right).sum(-1) + 1


def _padded(values: Tensor, rows: int) -> Tensor:
    return F.pad(values, (0, 0, 0, rows - values.shape[0]))


def _first(state: State | None, rows: int) -> State | None:
    """The state of the first ``rows`` files: those that go on."""
    if state is None:
        return None
    return _each(state, lambda h: h[:, :rows].contiguous())


def _rows(state: State, kept: Tensor) -> State:
    """The state of the rows that ``kept`` numbers."""
    return _each(state, lambda h: h[:, kept].contiguous())


def _own(model: nn.Module) -> RecurrentLanguageModel:
    if not isinstance(model, RecurrentLanguageModel):
        raise TypeError("the model is not this task's")
    return model


def _spans(pieces: int) -> int:
    return -(-pieces // _SPAN)


def _pieces_of_code(file: SourceFile, order: np.random.Generator) -> list[Sequence[str]]:
    """A whole file; or, for one file in five, its records one by one."""
    if order.random() < _AS_RECORDS:
        return [record.tokens for record in file.records]
    return [file.tokens]


class _Rows:
    """Files side by side: each row reads one file after another, a span at a time."""

    def __init__(self, files: Sequence[Pieces], rows: int, order: np.random.Generator) -> None:
        self._files = [f for f in files if len(f)]
        self._order = order
        self._queue: list[Pieces] = []
        self._left = [np.zeros(0, np.int32)] * rows
        self._last = [PAD] * rows

    def next(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Pieces with the one before them, shape (rows, 1 + span), and which rows start a file."""
        batch = np.full((len(self._left), 1 + _SPAN), PAD, np.int64)
        fresh = np.zeros(len(self._left), np.bool_)
        for row in range(len(self._left)):
            if not len(self._left[row]):
                self._left[row], self._last[row], fresh[row] = self._file(), PAD, True
            part, self._left[row] = np.split(self._left[row], [_SPAN])
            batch[row, 0], batch[row, 1 : 1 + len(part)] = self._last[row], part
            self._last[row] = int(part[-1])
        return batch, fresh

    def _file(self) -> Pieces:
        if not self._queue:
            self._queue = [self._files[i] for i in self._order.permutation(len(self._files))]
        return self._queue.pop()


def _restarted(state: State | None, fresh: NDArray[np.bool_]) -> State | None:
    """The zero state in the rows that start a file."""
    if state is None:
        return None
    first = state[0][0] if isinstance(state[0], tuple) else state[0]
    keep = torch.from_numpy(~fresh).to(first.device, first.dtype)[None, :, None]
    return _each(state, lambda h: h * keep)


def _detached(state: State) -> State:
    return _each(state, lambda h: h.detach())


def _each(state: State, change: Callable[[Tensor], Tensor]) -> State:
    return [(change(h[0]), change(h[1])) if isinstance(h, tuple) else change(h) for h in state]
