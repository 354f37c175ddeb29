# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The tokens of a text that goes on: of a file up to where somebody writes."""

from __future__ import annotations

from pathlib import PurePosixPath

from fedcode.corpus.language import DEDENT, NEWLINE
from fedcode.corpus.languages import LANGUAGES
from fedcode.corpus.languages.braces import Braces
from fedcode.corpus.languages.general import General, of_pieces
from fedcode.corpus.languages.indentation import lex
from fedcode.corpus.lexer import tokens_of
from fedcode.errors import CorpusError

_CLOSING = {"(": ")", "[": "]", "{": "}"}


def tokens_until(path: str, text: str) -> tuple[str, ...]:
    """The normalized tokens of ``text``, which may end in the midst of a line, or of brackets.

    Args:
        path: its suffix names the language.
        text: what stands before.

    Raises:
        CorpusError: it ends within a string, or is in no language that is read.
    """
    language = LANGUAGES.get(PurePosixPath(path).suffix)
    if language is None:
        raise CorpusError(f"{path} is in no language that is read")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if isinstance(language, (Braces, General)):
        return tuple(tokens_of(language.lexer, text))
    return _indented(text)


def _indented(text: str) -> tuple[str, ...]:
    """Python's: what is open is closed to be read, and what closes it is taken off again."""
    closing = _closing(text)
    try:
        tokens = lex(f"{text}\n{closing}" if closing else text).tokens
    except CorpusError as error:
        raise CorpusError(
            "what stands before the line's end is no Python", "is a string open?"
        ) from error
    end = len(tokens)
    while end and tokens[end - 1] == DEDENT:
        end -= 1
    if end and tokens[end - 1] == NEWLINE and (closing or not text.endswith("\n")):
        end -= 1
    return tokens[: end - len(closing)]


def _closing(text: str) -> str:
    """What closes the brackets that are open, comments and strings left out."""
    waiting: list[str] = []
    for token in tokens_of(of_pieces(".py").lexer, text):
        if token in _CLOSING:
            waiting.append(_CLOSING[token])
        elif waiting and token == waiting[-1]:
            waiting.pop()
    return "".join(reversed(waiting))
