# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""C++, and headers of C, which are mostly that as well."""

from __future__ import annotations

from fedcode.corpus.languages.braces import Braces
from fedcode.corpus.languages.c import COMMON, DIRECTIVE
from fedcode.corpus.languages.c import OPERATORS as OF_C
from fedcode.corpus.lexer import DOUBLE, SINGLE, pattern
from fedcode.corpus.syntax import Grammar

QUERY = """
(function_definition body: (_)) @function
(function_definition (try_statement)) @function
(template_declaration (function_definition)) @function
(template_declaration (template_declaration (function_definition))) @function
(function_definition declarator: (function_declarator declarator: (_) @d))
(function_definition declarator: (_ (function_declarator declarator: (_) @d)))
(function_definition
  declarator: (pointer_declarator (pointer_declarator (function_declarator declarator: (_) @d))))
(function_definition declarator: (operator_cast type: (_) @d))

[(namespace_definition) (class_specifier body: (_)) (struct_specifier body: (_))
 (union_specifier body: (_))] @scope
(class_specifier name: (_) @d body: (_))
(alias_declaration name: (_) @d)
(concept_definition name: (_) @d)

(call_expression function: [
  (qualified_identifier) @c
  (template_function name: (_) @c)
  (field_expression field: (template_method name: (_) @c))
])
(new_expression type: (_) @c)

(for_range_loop) @for
(try_statement) @try
(catch_clause) @catch
(throw_statement) @throw
(co_return_statement) @return
(co_yield_statement) @yield
(static_assert_declaration) @assert
"""

_ENDS = r'[^()\\\s"]{1,16}'
_RAW = (
    r'(?:u8|[uUL])?R"\([\s\S]*?(?:\)"|\Z)'
    rf'|(?:u8|[uUL])?R"{_ENDS}\([\s\S]*?(?:\){_ENDS}"|\Z)'
)
OPERATORS = f"{OF_C} :: ->* .* <=>"

CPP = Braces(
    "c++",
    Grammar("tree_sitter_cpp", COMMON + QUERY),
    pattern(
        strings=(_RAW, r"(?:u8|[uUL])?" + DOUBLE, r"(?:u8|[uUL])?" + SINGLE, DIRECTIVE),
        operators=OPERATORS,
    ),
)
