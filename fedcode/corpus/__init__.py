# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Source code as data: the only package that reads it.

``read`` gives a :class:`~fedcode.record.Corpus`, ``arrange`` says what of several is trained on and
what is measured, :class:`Subwords` turns tokens into numbers.
"""

from fedcode.corpus.cache import cache_folder, forget
from fedcode.corpus.deduplicate import deduplicate, distinct_files, without
from fedcode.corpus.files import MODULE, parse
from fedcode.corpus.filters import Screen, near_duplicates
from fedcode.corpus.history import with_owners, without_authors, without_refused
from fedcode.corpus.identity import asset_of, assets_of, register
from fedcode.corpus.joined import join, label_sources
from fedcode.corpus.language import PLACEHOLDERS, Function, Language, Reading
from fedcode.corpus.languages import LANGUAGES
from fedcode.corpus.lexer import is_identifier
from fedcode.corpus.own import Part, check_apart, owned, read_own, together, with_histories
from fedcode.corpus.public import digest_of, read_public, save_public
from fedcode.corpus.reading import read
from fedcode.corpus.sources import check_there, named
from fedcode.corpus.splits import Splits, arrange, split, split_own
from fedcode.corpus.tokenizer import PAD, SMALLEST, SPECIAL, Subwords

__all__ = [
    "LANGUAGES",
    "MODULE",
    "PAD",
    "PLACEHOLDERS",
    "SMALLEST",
    "SPECIAL",
    "Function",
    "Language",
    "Part",
    "Reading",
    "Screen",
    "Splits",
    "Subwords",
    "arrange",
    "asset_of",
    "assets_of",
    "cache_folder",
    "check_apart",
    "check_there",
    "deduplicate",
    "digest_of",
    "distinct_files",
    "forget",
    "is_identifier",
    "join",
    "label_sources",
    "named",
    "near_duplicates",
    "owned",
    "parse",
    "read",
    "read_own",
    "read_public",
    "register",
    "save_public",
    "split",
    "split_own",
    "together",
    "with_histories",
    "with_owners",
    "without",
    "without_authors",
    "without_refused",
]
