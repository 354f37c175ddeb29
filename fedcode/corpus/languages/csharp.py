# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""C#."""

from __future__ import annotations

from fedcode.corpus.languages.braces import Braces
from fedcode.corpus.languages.c import DIRECTIVE
from fedcode.corpus.lexer import DOUBLE, SINGLE, TRIPLE, pattern
from fedcode.corpus.syntax import Grammar

QUERY = """
[(method_declaration body: (_)) (constructor_declaration body: (_))
 (destructor_declaration body: (_)) (operator_declaration body: (_))
 (conversion_operator_declaration body: (_)) (local_function_statement body: (_))
 (property_declaration value: (arrow_expression_clause))
 (property_declaration accessors: (accessor_list (accessor_declaration body: (_))))
 (indexer_declaration)
 (event_declaration accessors: (_))] @function
(method_declaration name: (_) @d parameters: (_) @parameters)
(constructor_declaration name: (_) @d parameters: (_) @parameters)
(destructor_declaration name: (_) @d)
(local_function_statement name: (_) @d parameters: (_) @parameters)
(operator_declaration operator: _ @d parameters: (_) @parameters)
(conversion_operator_declaration type: (_) @d parameters: (_) @parameters)
(indexer_declaration "this" @d parameters: (_) @parameters)
(property_declaration
  name: (_) @d
  accessors: (accessor_list (accessor_declaration body: (_))))
(property_declaration name: (_) @d value: (arrow_expression_clause))
(event_declaration name: (_) @d)

[(class_declaration) (struct_declaration) (interface_declaration) (enum_declaration)
 (record_declaration) (namespace_declaration)] @scope
(class_declaration name: (_) @d)
(struct_declaration name: (_) @d)
(interface_declaration name: (_) @d)
(enum_declaration name: (_) @d)
(record_declaration name: (_) @d)
(delegate_declaration name: (_) @d)

(invocation_expression function: [
  (identifier) @c
  (generic_name (identifier) @c)
  (member_access_expression name: [(identifier) @c (generic_name (identifier) @c)])
  (conditional_access_expression
    (member_binding_expression name: [(identifier) @c (generic_name (identifier) @c)]))
])
(object_creation_expression type: [
  (identifier) @c
  (generic_name (identifier) @c)
  (qualified_name name: [(identifier) @c (generic_name (identifier) @c)])
])
(implicit_object_creation_expression "new" @c)

(if_statement) @if
(if_statement alternative: (if_statement) @chained)
(for_statement) @for
(foreach_statement) @for
(while_statement) @while
(do_statement) @do
[(switch_statement) (switch_expression)] @switch
[(switch_section) (switch_expression_arm)] @case
(try_statement) @try
(catch_clause) @catch
(finally_clause) @finally
[(throw_statement) (throw_expression)] @throw
(return_statement) @return
(break_statement) @break
(continue_statement) @continue
(goto_statement) @goto
(yield_statement) @yield
(lock_statement) @synchronized
(using_statement) @with
(conditional_expression) @ternary
[(assignment_expression) (postfix_unary_expression)
 (variable_declarator "=")] @assignment
(comment) @comment
"""

_INSERTED = r"\{[^{}\"\n]*+(?:\"[^\"\n]*+\"[^{}\"\n]*+)*+\}"
_STRINGS = (
    r"\$*" + TRIPLE,
    r'(?:@\$|\$@|@)"[^"]*+(?:""[^"]*+)*+(?:"|\Z)',
    rf'\$"(?:[^"\\{{\n]|\\.|\{{\{{|{_INSERTED})*+"',
    r"\$?" + DOUBLE,
    SINGLE,
)
OPERATORS = (
    ">>>= <<= >>= >>> ??= ?? ?. => -> :: ++ -- && || == != <= >= += -= *= /= %= &= |= ^= << >> .."
)

CSHARP = Braces(
    "c#",
    Grammar("tree_sitter_c_sharp", QUERY),
    pattern(strings=(*_STRINGS, r"@[^\W\d]\w*+", DIRECTIVE), operators=OPERATORS),
)
