# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import ast
import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcode.corpus import MODULE, parse
from fedcode.corpus.languages.indentation import lex

NAMES = st.sampled_from(["a", "b", "run"])


def indented(block: str) -> str:
    return textwrap.indent(block, "    ")


SIMPLE = st.sampled_from(
    [
        "x = 1",
        "# a comment\n",
        "\n\n",
        "y = f(\n  1,\n2)  # why",
        "s = '''a\n  b\n'''",
        "z = lambda: 1; w = 2",
        "v = \\\n    3",
    ]
)


@st.composite
def functions(draw, blocks):
    head = draw(st.sampled_from(["def", "async def"]))
    decorators = draw(st.sampled_from(["", "@a\n", "@a(\n  1)\n# between\n@b.c\n"]))
    name = draw(NAMES)
    if draw(st.booleans()):
        return f"{decorators}{head} {name}(x): return x  # short"
    return f"{decorators}{head} {name}(\n  x\n):\n" + indented(f"pass\n{draw(blocks)}")


@st.composite
def containers(draw, blocks):
    name = draw(NAMES)
    head = draw(st.sampled_from([f"class {name}:", f"@a\nclass {name}(b):", "if x:", "with x:"]))
    tail = draw(st.sampled_from(["", "\nelse:\n    x = 2"])) if head == "if x:" else ""
    return f"{head}\n" + indented(f"x = 0\n{draw(blocks)}\nx = 3") + tail


def joined(statements):
    return st.lists(statements, min_size=1, max_size=4).map("\n".join)


PROGRAMS = joined(
    st.recursive(
        SIMPLE, lambda inner: functions(joined(inner)) | containers(joined(inner)), max_leaves=12
    )
)


def outermost(node: ast.AST):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child
        else:
            yield from outermost(child)


def source_of(text: str, node) -> str:
    first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    return "\n".join(text.split("\n")[first - 1 : node.end_lineno])


@settings(max_examples=150, deadline=None)
@given(PROGRAMS)
def test_every_token_belongs_to_exactly_one_record(text):
    file = parse("a.py", text)
    remaining = list(file.tokens)
    end = 0
    for record in file.records:
        if record.kind == "function":
            n = len(record.tokens)
            start = next(
                i
                for i in range(end, len(remaining))
                if tuple(remaining[i : i + n]) == record.tokens
            )
            del remaining[start : start + n]
            end = start
    module = [r.tokens for r in file.records if r.name == MODULE]
    assert module == ([tuple(remaining)] if remaining else [])
    assert len({r.unit for r in file.records}) == len(file.records)
    if module:  # comments outside of the functions are nobody's without it
        assert sum(r.lines for r in file.records) == sum(bool(s.strip()) for s in text.split("\n"))


@settings(max_examples=150, deadline=None)
@given(PROGRAMS)
def test_a_function_record_is_what_the_lexer_makes_of_its_lines_alone(text):
    expected = []
    for node in outermost(ast.parse(text)):
        lines = source_of(text, node)
        alone = "if x:\n" + lines if lines[0].isspace() else lines
        tokens = lex(alone).tokens
        expected.append(tokens[5:-1] if lines[0].isspace() else tokens)
    found = [r.tokens for r in parse("a.py", text).records if r.kind == "function"]
    assert found == expected


@settings(max_examples=100, deadline=None)
@given(PROGRAMS, st.sampled_from(["\r\n", "\r"]))
def test_line_ends_do_not_matter(text, end):
    assert parse("a.py", text.replace("\n", end)) == parse("a.py", text)


@pytest.mark.parametrize("depth", [99, 98])
def test_deep_blocks_are_still_cut(depth):
    text = "".join(f"{' ' * i}if x:\n" for i in range(depth - 1)) + " " * depth + "def f(): pass\n"
    assert [r.name for r in parse("a.py", text).records] == ["f", MODULE]
