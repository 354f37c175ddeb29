# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Subwords: a byte-level BPE in which no piece crosses a lexer token.

Every lexer token is encoded on its own, followed by one space, so a piece that ends with that space
ends a lexer token, and the bits of a lexer token are the sum over its pieces: comparable across
vocabularies. White space inside a token is set apart by a byte that no UTF-8 text holds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from fedcode.corpus.language import PLACEHOLDERS
from fedcode.errors import CorpusError
from fedcode.record import SourceFile

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PAD = 0
"""The piece that pads batches and stands before a record's first one; it is never encoded."""

SPECIAL = ("<pad>", *PLACEHOLDERS)
"""The first pieces. A placeholder is one piece, and ends its lexer token."""

_FORMAT = "fedcode-subwords/1"


def _letters() -> tuple[str, ...]:
    """One printable character for each byte: its own where it has one, as in GPT-2's vocabulary."""
    own = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return tuple(chr(byte if byte in own else next(others)) for byte in range(256))


_LETTERS = _letters()
_BYTES = {ord(letter): byte for byte, letter in enumerate(_LETTERS)}
_END = _LETTERS[0x20]
_INNER_SPACE = _LETTERS[0xFF]

SMALLEST = len(SPECIAL) + len(_LETTERS)
"""A vocabulary of single bytes."""


class Subwords:
    """A vocabulary of pieces, and the order in which they merge.

    Args:
        pieces: all pieces but the special ones, in the order of their ids.
        merges: pairs of pieces, the first to merge first.

    Attributes:
        size: number of pieces, special ones included.
        ends: shape (size,): whether a piece ends a lexer token.
        digest: SHA-256 of :meth:`to_json`.
    """

    def __init__(self, pieces: Sequence[str], merges: Sequence[tuple[str, str]]) -> None:
        self._pieces = tuple(pieces)
        self._merges = tuple(merges)
        self._bpe = _bpe(self._pieces, self._merges)
        self._known: dict[str, tuple[int, ...]] = {
            text: (index,) for index, text in enumerate(SPECIAL) if text in PLACEHOLDERS
        }
        self.size = len(SPECIAL) + len(self._pieces)
        special = [text in PLACEHOLDERS for text in SPECIAL]
        self.ends: NDArray[np.bool_] = np.array(special + [p.endswith(_END) for p in self._pieces])
        self.digest = hashlib.sha256(self.to_json().encode()).hexdigest()

    @classmethod
    def train(cls, files: Iterable[SourceFile], vocabulary: int) -> Self:
        """Learns a vocabulary. The same files give the same one, in the same or another process.

        Args:
            files: what is public to every member.
            vocabulary: number of pieces, special ones included; fewer where the files are few.

        Raises:
            CorpusError: ``vocabulary`` has no room for every byte.
        """
        if vocabulary < SMALLEST:
            raise CorpusError(
                f"a vocabulary of {vocabulary} pieces is too small", f"ask for at least {SMALLEST}"
            )
        from tokenizers import Tokenizer, models, pre_tokenizers, trainers

        bpe = Tokenizer(models.BPE())
        bpe.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary - len(SPECIAL),
            initial_alphabet=list(_LETTERS),
            show_progress=False,
        )
        bpe.train_from_iterator((_sentence(file.tokens) for file in files), trainer)
        model = json.loads(bpe.to_str())["model"]
        pieces = sorted(model["vocab"], key=model["vocab"].__getitem__)
        return cls(pieces, [(left, right) for left, right in model["merges"]])

    def encode(self, tokens: Sequence[str]) -> NDArray[np.int32]:
        """The pieces of lexer tokens, shape (pieces,)."""
        self._learn(tokens)
        return self._pieces_of(tokens)

    def encode_many(self, sequences: Iterable[Sequence[str]]) -> list[NDArray[np.int32]]:
        """:meth:`encode` for many sequences, faster: all new tokens are encoded at once."""
        sequences = list(sequences)
        self._learn(chain.from_iterable(sequences))
        return [self._pieces_of(tokens) for tokens in sequences]

    def decode(self, pieces: Iterable[int]) -> list[str]:
        """Lexer tokens from pieces; padding is passed over, and a last token may be unfinished.

        Pieces that no text has give U+FFFD.
        """
        tokens: list[str] = []
        waiting = ""
        for piece in pieces:
            if piece >= len(SPECIAL):
                waiting += self._pieces[piece - len(SPECIAL)]
            if waiting and (self.ends[piece] or piece == PAD):
                tokens.append(_text(waiting))
                waiting = ""
            if PAD < piece < len(SPECIAL):
                tokens.append(SPECIAL[piece])
        return [*tokens, _text(waiting)] if waiting else tokens

    def to_json(self) -> str:
        """Everything that makes this vocabulary, in one form only."""
        content = {"format": _FORMAT, "merges": self._merges, "pieces": self._pieces}
        return json.dumps(content, ensure_ascii=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What :meth:`to_json` wrote.

        Raises:
            CorpusError: it is something else.
        """
        try:
            content = json.loads(text)
            pieces = list(content.pop("pieces"))
            merges = [(left, right) for left, right in content.pop("merges")]
            _check(content, pieces, merges)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise CorpusError("not a vocabulary of subwords", "train it again") from error
        return cls(pieces, merges)

    def _learn(self, tokens: Iterable[str]) -> None:
        new = [token for token in dict.fromkeys(tokens) if token not in self._known]
        words = [_word(token) for token in new]
        for token, encoded in zip(new, self._bpe.encode_batch_fast(words), strict=True):
            self._known[token] = tuple(index + len(SPECIAL) for index in encoded.ids)

    def _pieces_of(self, tokens: Sequence[str]) -> NDArray[np.int32]:
        found = chain.from_iterable(map(self._known.__getitem__, tokens))
        return np.fromiter(found, dtype=np.int32)


def _bpe(pieces: Sequence[str], merges: Sequence[tuple[str, str]]) -> Tokenizer:
    from tokenizers import Tokenizer, models

    return Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, list(merges)))


def _word(token: str) -> str:
    letters = "".join([_LETTERS[byte] for byte in token.encode()])
    return letters.replace(_END, _INNER_SPACE) + _END


def _sentence(tokens: Iterable[str]) -> str:
    return " ".join(_word(token) for token in tokens if token not in PLACEHOLDERS)


def _text(letters: str) -> str:
    own = letters.removesuffix(_END).replace(_INNER_SPACE, _END)
    return bytes(_BYTES[ord(letter)] for letter in own).decode(errors="replace")


def _check(head: object, pieces: Sequence[str], merges: Sequence[tuple[str, str]]) -> None:
    if head != {"format": _FORMAT}:
        raise ValueError("another format")
    known = set(pieces)
    letters = set(_LETTERS)
    if len(known) != len(pieces) or not known >= letters or not all(map(letters.issuperset, known)):
        raise ValueError("pieces are missing, there twice, or of other characters")
    if "" in known or not all({left, right, left + right} <= known for left, right in merges):
        raise ValueError("a merge of unknown pieces")
