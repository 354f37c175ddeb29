# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Rust."""

from __future__ import annotations

from fedcode.corpus.languages.braces import Braces
from fedcode.corpus.lexer import DOUBLE, SLASHES, pattern
from fedcode.corpus.syntax import Grammar

QUERY = """
(function_item name: (_) @d parameters: (_) @parameters) @function
[(mod_item) (impl_item) (trait_item)] @scope
(attribute_item) @attribute

(mod_item name: (_) @d)
(struct_item name: (_) @d)
(enum_item name: (_) @d)
(union_item name: (_) @d)
(trait_item name: (_) @d)
(type_item name: (_) @d)
(macro_definition name: (_) @d)

(call_expression function: [
  (identifier) @c
  (field_expression field: (_) @c)
  (scoped_identifier name: (_) @c)
  (generic_function function: [
    (identifier) @c
    (field_expression field: (_) @c)
    (scoped_identifier name: (_) @c)
  ])
])
(macro_invocation macro: [(identifier) @c (scoped_identifier name: (_) @c)])
(struct_expression name: [
  (type_identifier) @c
  (scoped_type_identifier name: (_) @c)
  (generic_type_with_turbofish) @c
])

(if_expression) @if
(else_clause (if_expression) @chained)
(for_expression) @for
[(while_expression) (loop_expression)] @while
(match_expression) @switch
(match_arm) @case
[(return_expression) (try_expression)] @return
(break_expression) @break
(continue_expression) @continue
[(assignment_expression) (compound_assignment_expr) (let_declaration value: (_))] @assignment
[(line_comment) (block_comment)] @comment
"""

_NESTED = r"/\*(?:[^*/]|\*(?!/)|/(?!\*))*+\*/"
_BLOCK = (
    rf"/\*(?:[^*/]|\*(?!/)|/(?!\*)|{_NESTED})*+(?:\*/|\Z)|/\*[^*]*+(?:\*(?!/)[^*]*+)*+(?:\*/|\Z)"
)
_RAW = "|".join(
    rf'(?:b|c)?r{"#" * n}"[\s\S]*?(?:"{"#" * n}|\Z)'.replace("#", r"\#") for n in range(4)
)
_STRINGS = (
    _RAW,
    r"[bc]?" + DOUBLE,
    r"b?'(?:[^'\\\n]|\\[^\n][^'\n]{0,10})'",
    r"'[^\W\d]\w*+",
    r"r\#[^\W\d]\w*+",
)
OPERATORS = "<<= >>= ..= ... .. -> => :: && || == != <= >= += -= *= /= %= &= |= ^= << >>"

RUST = Braces(
    "rust",
    Grammar("tree_sitter_rust", QUERY),
    pattern(comments=(SLASHES, _BLOCK), strings=_STRINGS, operators=OPERATORS),
)
