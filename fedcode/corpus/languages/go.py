# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Go."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fedcode.corpus.languages.braces import Braces
from fedcode.corpus.lexer import DOUBLE, RAW, SINGLE, pattern
from fedcode.corpus.syntax import Grammar, named

if TYPE_CHECKING:
    from tree_sitter import Node

QUERY = """
(function_declaration name: (_) @d parameters: (_) @parameters body: (_)) @function
(method_declaration name: (_) @d parameters: (_) @parameters body: (_)) @function
(var_declaration . (var_spec
  name: (_) @d
  value: (expression_list . (func_literal parameters: (_) @parameters) .)) .) @function

(type_spec name: (_) @d)
(type_alias name: (_) @d)

(call_expression function: [(identifier) @c (selector_expression field: (_) @c)])
(composite_literal type: [
  (type_identifier) @c
  (qualified_type name: (_) @c)
  (generic_type type: [(type_identifier) @c (qualified_type name: (_) @c)])
])

(if_statement) @if
(if_statement alternative: (if_statement) @chained)
(for_statement) @for
[(expression_switch_statement) (type_switch_statement) (select_statement)] @switch
[(expression_case) (type_case) (communication_case) (default_case)] @case
(return_statement) @return
(break_statement) @break
(continue_statement) @continue
(fallthrough_statement) @fallthrough
(goto_statement) @goto
(defer_statement) @defer
(go_statement) @go
[(assignment_statement) (short_var_declaration) (inc_statement) (dec_statement)
 (var_spec value: (_))] @assignment
(comment) @comment
"""

OPERATORS = "&^= <<= >>= ... &^ := <- ++ -- && || == != <= >= += -= *= /= %= &= |= ^= << >>"

_RECEIVER = re.compile(rb"(\w+)\s*(?:\[[^\]]*\])?\s*,?\s*\)$")


def receiver(node: Node, data: bytes) -> str:
    """The type that a method belongs to, and a dot; empty for a function."""
    found = node.child_by_field_name("receiver")
    match = _RECEIVER.search(data[found.start_byte : found.end_byte]) if found else None
    return f"{match[1].decode()}." if match else ""


GO = Braces(
    "go",
    Grammar("tree_sitter_go", QUERY),
    pattern(strings=(DOUBLE, RAW, SINGLE), operators=OPERATORS),
    named,
    receiver,
)
