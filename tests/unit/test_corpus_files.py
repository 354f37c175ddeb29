# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from fedcode.corpus import MODULE, parse
from fedcode.corpus.files import LONGEST_FILE, cut
from fedcode.errors import CorpusError

TEXT = '''\
"""Doc."""
import os

@cache
@other(
    1)
def first(x):  # why
    def inner():
        return x

    return inner


class A(B):
    size = 1

    @property
    def size(self): return 1

    @size.setter
    def size(self, to):
        self.x = to

    class Inner:
        async def run(self):
            pass

if os.name:
    def first(): pass
else:
    last = lambda: 0
'''


def test_records_of_a_file():
    file = parse("p/a.py", TEXT)
    assert [(r.unit, r.kind, r.lines) for r in file.records] == [
        ("p/a.py::first", "function", 7),
        ("p/a.py::A.size", "function", 2),
        ("p/a.py::A.size#2", "function", 3),
        ("p/a.py::A.Inner.run", "function", 2),
        ("p/a.py::first#2", "function", 1),
        ("p/a.py::<module>", "module", 8),
    ]
    by_name = {r.name: " ".join(r.tokens) for r in file.records}
    assert by_name["A.size"] == "@ property <NL> def size ( self ) : return 1 <NL>"
    assert by_name["A.Inner.run"] == "async def run ( self ) : <NL> <IN> pass <NL> <DE>"
    assert by_name[MODULE] == (
        "'''Doc.''' <NL> import os <NL> class A ( B ) : <NL> <IN> size = 1 <NL> class Inner : <NL> "
        "<IN> <DE> <DE> if os . name : <NL> <IN> <DE> else : <NL> <IN> last = lambda : 0 <NL> <DE>"
    ).replace("'''", '"""')


def test_a_file_of_functions_has_no_module_record():
    assert [r.name for r in parse("a.py", "def f(): pass\n").records] == ["f"]


def test_an_at_sign_above_its_decorator_belongs_to_the_function():
    file = parse("a.py", "x\n@\\\ncache\ndef f(): pass\n")
    assert file.records[0].tokens[:2] == ("@", "cache")


def test_a_long_chain_of_elifs_is_no_recursion():
    chain = "".join(f"elif x == {i}:\n    pass\n" for i in range(500))
    records = parse("a.py", f"if x:\n    pass\n{chain}else:\n    def f(): pass\n").records
    assert [r.name for r in records] == ["f", MODULE]


BAD = [
    (b"x = 1\ndef f(:\n", "syntax error in line 2"),
    (b"if x:\n        y\n    z\n", "not tokenizable from line 3"),
    (b"x = 1\nx = = 1\n", "syntax error in line 2"),
    (b"x = 1\n\n\nprint 'python 2' 2\n", "syntax error in line 4"),
    (b"x = '\xff'\n", "its encoding is unknown or not as declared"),
    (b"\n\n\nx = '\xff'\n", "not decodable as utf-8"),
    (b"# coding: martian\nx = 1\n", "its encoding is unknown or not as declared"),
    (b"# coding: rot13\nx = 1\n", "not decodable as rot13"),
    (b"x = 1\x00\n", "holds characters that no source text can"),
    (b"# coding: raw_unicode_escape\nx = '\\ud800'\n", "holds characters that no source text can"),
    (b"x = " + b"(" * 11_000, "nested too deeply"),
    (b"x" * (LONGEST_FILE + 1), "over 200,000 characters"),
    (b'"""never closed', None),
]


@pytest.mark.parametrize(("data", "reason"), BAD)
def test_a_bad_file_gives_a_short_reason(data, reason):
    with pytest.raises(CorpusError) as caught:
        cut("a.py", data)
    assert len(str(caught.value)) < 60
    if reason:
        assert str(caught.value) == reason


@pytest.mark.parametrize(
    "data",
    [
        "s = 'é'\n".encode(),
        b"\xef\xbb\xbf" + "s = 'é'\n".encode(),
        b"#!/bin/python\n# -*- coding: latin-1 -*-\ns = '\xe9'\n",
        b"# vim: set fileencoding=cp1252 :\r\ns = '\xe9'\r\n",
    ],
)
def test_encodings(data):
    assert cut("a.py", data).tokens == ("s", "=", "'é'", "<NL>")


def test_invalid_escapes_warn_nobody():
    assert cut("a.py", rb"s = '\d'").tokens == ("s", "=", r"'\d'", "<NL>")


@pytest.mark.parametrize("data", [b"", b"\n \n", b"# nothing\n"])
def test_a_file_without_tokens_is_not_bad(data):
    assert cut("a.py", data).tokens == ()
