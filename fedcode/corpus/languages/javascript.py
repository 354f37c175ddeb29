# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""JavaScript, with JSX."""

from __future__ import annotations

from fedcode.corpus.languages.braces import Braces
from fedcode.corpus.lexer import DOLLAR_NAME, DOUBLE, SINGLE, pattern
from fedcode.corpus.syntax import Grammar

COMMON = """
[(function_declaration) (generator_function_declaration) (method_definition)] @function
(function_declaration name: (_) @d)
(generator_function_declaration name: (_) @d)
(method_definition name: (_) @d)

(variable_declarator
  name: (identifier) @d
  value: [(arrow_function) (function_expression) (generator_function)]) @function
(lexical_declaration . (variable_declarator
  value: [(arrow_function) (function_expression) (generator_function)]) .) @function
(variable_declaration . (variable_declarator
  value: [(arrow_function) (function_expression) (generator_function)]) .) @function
(pair
  key: (_) @d
  value: [(arrow_function) (function_expression) (generator_function)]) @function
(assignment_expression
  left: [(identifier) @d (member_expression property: (_) @d)]
  right: [(arrow_function) (function_expression) (generator_function)]) @function
(export_statement declaration: [(function_declaration) (generator_function_declaration)]) @function
(export_statement declaration: (lexical_declaration . (variable_declarator
  value: [(arrow_function) (function_expression) (generator_function)]) .)) @function
(export_statement "default" @d
  value: [(arrow_function) (function_expression) (generator_function)]) @function

(function_declaration parameters: (_) @parameters)
(generator_function_declaration parameters: (_) @parameters)
(method_definition parameters: (_) @parameters)
(function_expression parameters: (_) @parameters)
(generator_function parameters: (_) @parameters)
(arrow_function parameters: (_) @parameters)
(arrow_function parameter: (_) @parameters)

(class_declaration) @scope
(class_declaration name: (_) @d)
(variable_declarator name: (identifier) @d value: (class)) @scope

(call_expression function: [
  (identifier) @c
  (super) @c
  (import) @c
  (member_expression property: (_) @c)
])
(new_expression constructor: [(identifier) @c (member_expression property: (_) @c)])

(if_statement) @if
(else_clause (if_statement) @chained)
(for_statement) @for
(for_in_statement) @for
(while_statement) @while
(do_statement) @do
(switch_statement) @switch
[(switch_case) (switch_default)] @case
(try_statement) @try
(catch_clause) @catch
(finally_clause) @finally
(throw_statement) @throw
(return_statement) @return
(break_statement) @break
(continue_statement) @continue
(yield_expression) @yield
(with_statement) @with
(ternary_expression) @ternary
[(assignment_expression) (augmented_assignment_expression) (update_expression)
 (variable_declarator value: (_))] @assignment
(comment) @comment
"""
"""What the trees of JavaScript and TypeScript have in common."""

QUERY = """
(field_definition
  property: (_) @d
  value: [(arrow_function) (function_expression) (generator_function)]) @function
"""

TEMPLATE = (
    r"`(?:[^`\\$]|\\[\s\S]|\$(?!\{)|\$\{(?:[^{}`]|\{[^{}`]*+\}|`[^`]*+`)*+\})*+`"
    r"|`[^`\\]*+(?:\\[\s\S][^`\\]*+)*+(?:`|\\?\Z)"
)
"""Template strings; in one that stands in another's expression there is no third."""

_BODY = r"/(?![*/])(?:[^/\\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*+\])++/\w*+"
REGULAR = "|".join(
    f"(?<={before}){_BODY}"
    for before in (r"[(,=:\[!&|?{};\n]", r"[(,=:\[!&|?{};>] ", "return ", "return", "\n ")
)
"""Regular expressions, where no division can stand."""

PRIVATE_NAME = r"\#[^\W\d][\w$]*+"

OPERATORS = (
    ">>>= ... === !== **= <<= >>= >>> &&= ||= ??= => == != <= >= && || ?? ?. ++ -- += -= *= /= "
    "%= &= |= ^= << >> **"
)

LEXER = pattern(
    strings=(TEMPLATE, DOUBLE, SINGLE, REGULAR, PRIVATE_NAME),
    name=DOLLAR_NAME,
    operators=OPERATORS,
)

JAVASCRIPT = Braces("javascript", Grammar("tree_sitter_javascript", COMMON + QUERY), LEXER)
