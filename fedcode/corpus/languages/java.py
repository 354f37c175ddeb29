# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Java."""

from __future__ import annotations

from fedcode.corpus.languages.braces import Braces
from fedcode.corpus.lexer import DOLLAR_NAME, DOUBLE, SINGLE, TRIPLE, pattern
from fedcode.corpus.syntax import Grammar

QUERY = """
(method_declaration parameters: (_) @parameters body: (_)) @function
(constructor_declaration parameters: (_) @parameters) @function
(compact_constructor_declaration) @function

[(class_declaration) (interface_declaration) (enum_declaration) (record_declaration)
 (annotation_type_declaration)] @scope

(method_declaration name: (_) @d)
(constructor_declaration name: (_) @d)
(compact_constructor_declaration name: (_) @d)
(class_declaration name: (_) @d)
(interface_declaration name: (_) @d)
(enum_declaration name: (_) @d)
(record_declaration name: (_) @d)
(annotation_type_declaration name: (_) @d)

(method_invocation name: (_) @c)
(explicit_constructor_invocation constructor: (_) @c)
(object_creation_expression type: [
  (type_identifier) @c
  (scoped_type_identifier (type_identifier) @c .)
  (generic_type [(type_identifier) @c (scoped_type_identifier (type_identifier) @c .)])
])

(if_statement) @if
(if_statement alternative: (if_statement) @chained)
(for_statement) @for
(enhanced_for_statement) @for
(while_statement) @while
(do_statement) @do
(switch_expression) @switch
(switch_label) @case
(try_statement) @try
(try_with_resources_statement) @try
(catch_clause) @catch
(finally_clause) @finally
(throw_statement) @throw
(return_statement) @return
(break_statement) @break
(continue_statement) @continue
(yield_statement) @yield
(assert_statement) @assert
(synchronized_statement) @synchronized
(ternary_expression) @ternary
[(assignment_expression) (update_expression) (variable_declarator value: (_))] @assignment
[(line_comment) (block_comment)] @comment
"""

OPERATORS = (
    ">>>= <<= >>= >>> << >> -> :: ++ -- && || == != <= >= += -= *= /= &= |= ^= %= ... @interface"
)

JAVA = Braces(
    "java",
    Grammar("tree_sitter_java", QUERY),
    pattern(strings=(TRIPLE, DOUBLE, SINGLE), name=DOLLAR_NAME, operators=OPERATORS),
)
