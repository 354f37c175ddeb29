# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Python as our reader has it, beside what the interpreter's own ``tokenize`` and ``ast`` give."""

from __future__ import annotations

import re
import sys
import sysconfig
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fedcode.corpus import LANGUAGES
from fedcode.corpus.files import LONGEST_FILE
from fedcode.errors import CorpusError
from tests.unit import python_oracle

PYTHON = LANGUAGES[".py"]
STANDARD, INSTALLED = (Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib"))


def by_oracle(text):
    """Tokens, their lines, functions; None of what Python itself refuses."""
    try:
        lexed = python_oracle.lex(text)
        return lexed.tokens, lexed.lines, python_oracle.functions(text, lexed)
    except CorpusError:
        return None


def by_us(text):
    found = PYTHON.read(text)
    assert not found.broken
    functions = [(f.name, f.start, f.stop, f.first, f.last, f.lines) for f in found.functions]
    return found.tokens, found.places(), functions


def differing(files):
    """Files that Python itself reads, and we read otherwise; and how many were compared."""
    bad, compared = [], 0
    for file in files:
        try:
            text = PYTHON.decode(file.read_bytes())
        except CorpusError:
            continue
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        if len(text) > LONGEST_FILE or not text.strip() or (wanted := by_oracle(text)) is None:
            continue
        compared += 1
        if by_us(text) != wanted:
            bad.append(str(file))
    return bad, compared


def test_some_files_of_the_standard_library():
    files = sorted(STANDARD.glob("*.py"))[:170] + sorted((STANDARD / "test").glob("*.py"))[::12]
    bad, compared = differing(files)
    assert bad == []
    assert compared > 150


@pytest.mark.slow
@pytest.mark.parametrize("folder", [STANDARD, INSTALLED], ids=["standard", "installed"])
def test_every_file_that_is_installed(folder):
    bad, compared = differing(sorted(folder.rglob("*.py")))
    assert bad == []
    assert compared > 500


TEXTS = [
    "x = 'it''s' \"b\" u'e' f'{x}' fR'{x!r:>{y}}' f'''f\n'''\n",
    "x = rb'c' Rb\"d\" b'e' br'''f\n'''\n",
    "x = f'{x:{y}}' f\"{x['a']}\" f'{{}}' f'''{x\n}''' f'{x:\"^9}' rf'\\{x}'\n",
    "x = 0xfF + 0b1_0 + 0o17 + 1_0.5e-1_0j + .5 + 5. + 1e5 + 0_0 + 1j + 1if x else 2\n",
    "x = 1..real + 1 .real + x[...] + x[1:.5]\n",
    "x=a<b>c<=d>=e==f!=g<<h>>i//j**k->l\n".replace("->l", ""),
    "x//=1;x**=2;x>>=3;x<<=4;x@=5;x|=6;x^=7;x&=8;x%=9\n",
    "def f(a, /, *, b: int = 1, **c) -> (x := 1): pass\n",
    "if x:\n\tif y:\n\t\tz\n\t\tw\n",
    "if x:\n    y\n  # comment out of place\n\n    z\n# at the end",
    "class A:\n  def f(self):\n    pass\n\n\n  # c\n  @a\n\n  # d\n  def g(self): pass\nx\n",
    "x = \\\n  1\n\\\ny = 2\n",
    "x = (1, # one\n\n  2)\n",
    "\f\nx\n\f\ndef f():\n  \f  y\n",
    "async def f():\n  async for x in y: await z\n  async with a: pass\n",
    "match x:\n  case [1, *_]: pass\n  case _:\n    match = 1\ntype = print\n",
    "@(yield_ := a)\n@b[0].c\nclass A: x = 1; y = 2\n",
    "lambda: (yield)\nx = lambda *a, **k: (a, k)\n",
    "try:\n  pass\nexcept* E as e: pass\nfinally:\n  def f(): return\n",
    "naïve = größe·x = 1\n".replace("·x", ""),
    "if 1:\n  def f(): pass\nelse:\n  def f(): pass\nclass f:\n  class f:\n    def f(f): pass\n",
    "def f():\n  '''a\n'''\n  class B:\n    def g(): pass\n  def h(): pass\ndef i(): pass\n",
    "print >>f, x\nx = print\n",
    "x = '\\\n'\ny = 'a\\\\'\nz = '''\\''''\n",
    "x",
    "x = [\n]",
    "def f(x):\n    x = 1\n    ",
    "if x:\n  y\n\n \t",
]


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_easily_got_wrong(text):
    wanted = by_oracle(text)
    assert wanted is not None
    assert by_us(text) == wanted


EMPTY_STATEMENT = re.compile(r"(?:\A|\n)[ \t\f]*\\\n|\\\n[ \t\f]*#[^\n]*\Z")
PIECES = st.sampled_from(
    [
        *(
            "x",
            "def ",
            "f",
            "(",
            ")",
            ":",
            "\n",
            "\n    ",
            "\n        ",
            "\n\t",
            "class ",
            "@",
            "=",
            "1",
        ),
        *(
            "'a'",
            '"""b\n"""',
            "f'{x}'",
            "rb''",
            " # c",
            "\\\n",
            ",",
            "async ",
            "if ",
            "pass",
            "0x1f",
        ),
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES, max_size=25).map("".join))
def test_whatever_python_reads_we_read_alike(text):
    # Of a line with a backslash alone tokenize says one thing or another, as what follows has an
    # end or none. Nobody writes one.
    assume(not EMPTY_STATEMENT.search(text))
    wanted = by_oracle(text)
    if text.strip() and wanted is not None:
        assert by_us(text) == wanted


STATEMENTS = st.sampled_from(
    [
        *(
            "x = 1",
            "pass",
            "# c",
            "",
            "y = (\n1)",
            "z = '''a\n b'''",
            "w = \\\n 2",
            "v = f'{a!r:>{b}}'",
        ),
        *("@a", "def f(x):", "class A:", "if x:", "async def g(): return 1", "try:", "finally:"),
    ]
)
LINES = st.lists(st.tuples(st.integers(0, 3), STATEMENTS), max_size=14)


@settings(max_examples=400, deadline=None)
@given(LINES, st.sampled_from(["    ", "\t", "  "]))
def test_programs_of_lines(lines, indent):
    text = "\n".join(indent * depth + line for depth, line in lines)
    wanted = by_oracle(text)
    if text.strip() and wanted is not None:
        assert by_us(text) == wanted


@pytest.mark.skipif(sys.version_info < (3, 12), reason="f-strings of Python 3.12")
@pytest.mark.parametrize("text", ["x = f'{y['a']}'\n", "x = f'{f'{z}'}' + 1\n", "x = f'{\ny}'\n"])
def test_fstrings_with_their_own_quotes(text):
    assert by_us(text)[0] == by_oracle(text)[0]


def test_fstrings_of_later_pythons_are_one_token_in_all():
    (first, *_), (second, *_) = (
        PYTHON.read(f"x = {string}\n").tokens[2:] for string in ("f'{y['a']}'", "f'{f'{z}'}'")
    )
    assert (first, second) == ("f'{y['a']}'", "f'{f'{z}'}'")


def test_code_of_python_2_is_read_as_far_as_its_tree_goes():
    (function, module) = PYTHON.read("def f():\n    print 'a'\n"), PYTHON.read("exec 'a'\n")
    assert [f.name for f in function.functions] == ["f"]
    assert module.tokens == ("exec", "'a'", "<NL>")
