# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""C."""

from __future__ import annotations

from fedcode.corpus.languages.braces import Braces
from fedcode.corpus.lexer import DOUBLE, SINGLE, pattern
from fedcode.corpus.syntax import Grammar

COMMON = """
(function_declarator parameters: (_) @parameters)

(struct_specifier name: (_) @d body: (_))
(union_specifier name: (_) @d body: (_))
(enum_specifier name: (_) @d body: (_))
(type_definition declarator: (type_identifier) @d)

(call_expression function: [(identifier) @c (field_expression field: (_) @c)])

(if_statement) @if
(else_clause (if_statement) @chained)
(for_statement) @for
(while_statement) @while
(do_statement) @do
(switch_statement) @switch
(case_statement) @case
(return_statement) @return
(break_statement) @break
(continue_statement) @continue
(goto_statement) @goto
(conditional_expression) @ternary
[(assignment_expression) (update_expression) (init_declarator)] @assignment
(comment) @comment
"""
"""What the trees of C and C++ have in common."""

QUERY = """
(function_definition) @function
(function_definition declarator: (function_declarator declarator: (identifier) @d))
(function_definition
  declarator: (pointer_declarator (function_declarator declarator: (identifier) @d)))
(function_definition
  declarator: (pointer_declarator
    (pointer_declarator (function_declarator declarator: (identifier) @d))))
(function_declarator
  declarator: (parenthesized_declarator
    (pointer_declarator (function_declarator declarator: (identifier) @d))))
"""

DIRECTIVE = r"\#[ \t]*+\w++"
OPERATORS = "... <<= >>= -> ++ -- << >> <= >= == != && || += -= *= /= %= &= |= ^= ##"

C = Braces(
    "c",
    Grammar("tree_sitter_c", COMMON + QUERY),
    pattern(
        strings=(r"(?:u8|[uUL])?" + DOUBLE, r"[uUL]?" + SINGLE, DIRECTIVE), operators=OPERATORS
    ),
)
