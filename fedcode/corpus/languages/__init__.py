# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The languages that are read, one file each. A further one is a file, and a line in the table."""

from collections.abc import Mapping

from fedcode.corpus.language import Language
from fedcode.corpus.languages.c import C
from fedcode.corpus.languages.cpp import CPP
from fedcode.corpus.languages.csharp import CSHARP
from fedcode.corpus.languages.general import GENERAL
from fedcode.corpus.languages.go import GO
from fedcode.corpus.languages.java import JAVA
from fedcode.corpus.languages.javascript import JAVASCRIPT
from fedcode.corpus.languages.python import PYTHON
from fedcode.corpus.languages.rust import RUST
from fedcode.corpus.languages.typescript import TSX, TYPESCRIPT

LANGUAGES: Mapping[str, Language] = {
    ".py": PYTHON,
    ".java": JAVA,
    ".js": JAVASCRIPT,
    ".jsx": JAVASCRIPT,
    ".mjs": JAVASCRIPT,
    ".cjs": JAVASCRIPT,
    ".ts": TYPESCRIPT,
    ".mts": TYPESCRIPT,
    ".cts": TYPESCRIPT,
    ".tsx": TSX,
    ".c": C,
    ".h": CPP,
    ".cc": CPP,
    ".cpp": CPP,
    ".cxx": CPP,
    ".hh": CPP,
    ".hpp": CPP,
    ".hxx": CPP,
    ".cs": CSHARP,
    ".go": GO,
    ".rs": RUST,
    **GENERAL,
}
"""By file suffix."""

__all__ = ["LANGUAGES"]
