# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""TypeScript, with and without JSX."""

from __future__ import annotations

from fedcode.corpus.languages.braces import Braces
from fedcode.corpus.languages.javascript import COMMON, LEXER
from fedcode.corpus.syntax import Grammar

QUERY = """
(public_field_definition
  name: (_) @d
  value: [(arrow_function) (function_expression) (generator_function)]) @function

(class_body (decorator) @attribute)
[(abstract_class_declaration) (internal_module) (module)] @scope
(abstract_class_declaration name: (_) @d)
(interface_declaration name: (_) @d)
(enum_declaration name: (_) @d)
(type_alias_declaration name: (_) @d)
"""

TYPESCRIPT, TSX = (
    Braces("typescript", Grammar("tree_sitter_typescript", COMMON + QUERY, function), LEXER)
    for function in ("language_typescript", "language_tsx")
)
