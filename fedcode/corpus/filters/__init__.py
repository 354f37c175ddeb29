# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What must not be trained on: one file a filter, and :class:`Screen`, which is all of them.

What a filter takes becomes a :class:`~fedcode.record.Taken` of the organization's own report, and
holds nothing of any text.
"""

from fedcode.corpus.filters.beside import Beside
from fedcode.corpus.filters.denied import WHAT, Denied, Erased, What, digest, new_salt, opted_out
from fedcode.corpus.filters.near import near_duplicates
from fedcode.corpus.filters.screen import Screen

__all__ = [
    "WHAT",
    "Beside",
    "Denied",
    "Erased",
    "Screen",
    "What",
    "digest",
    "near_duplicates",
    "new_salt",
    "opted_out",
]
