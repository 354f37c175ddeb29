# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Texts that nobody wrote by hand, and broken ones, in every language."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time

import pytest

from fedcode.corpus import LANGUAGES, MODULE, parse, read
from fedcode.corpus.files import cut
from fedcode.errors import CorpusError

FULL = [".py", ".java", ".js", ".ts", ".tsx", ".c", ".cpp", ".cs", ".go", ".rs"]
SOME = [*FULL, ".kt", ".rb", ".php", ".sql", ".ml", ".clj", ".erl"]
LONG = 199_000

# A whole function, and one that is broken, between them what ends it whatever the language.
BROKEN = {
    ".py": ("def good(x):\n    return x\n", "def bad(:\n    return 1\n"),
    ".java": (
        "class A { int good(int x) { return x; } }\n",
        "class B { int bad(int x) { return = = 1; } }\n",
    ),
    ".js": ("function good(x) { return x; }\n", "function bad(x) { return = 1; }\n"),
    ".ts": ("function good(x: any) { return x; }\n", "function bad(x) { return = 1; }\n"),
    ".tsx": ("function good(x: any) { return x; }\n", "function bad(x) { return = 1; }\n"),
    ".c": ("int good(int x) { return x; }\n", "int bad(int x) { return = 1; }\n"),
    ".cpp": ("int good(int x) { return x; }\n", "int bad(int x) { return = 1; }\n"),
    ".cs": (
        "class A { int good(int x) { return x; } }\n",
        "class B { int bad(int x) { return = = 1; } }\n",
    ),
    ".go": ("func good(x int) int { return x }\n", "func bad(x int) int { return = 1 }\n"),
    ".rs": ("fn good(x: u8) -> u8 { x }\n", "fn bad(x: u8) -> u8 { let = = 1; }\n"),
}


@pytest.mark.parametrize("suffix", FULL)
def test_a_broken_file_gives_its_sound_functions_and_no_module(suffix):
    good, bad = BROKEN[suffix]
    piece = cut(f"a{suffix}", (good + bad).encode())
    assert [f.name.rpartition(".")[2] for f in piece.functions] == ["good"]
    assert piece.note.startswith("syntax error: 1 of ")
    (record,) = parse(f"a{suffix}", good + bad).records
    assert record.kind == "function"
    whole = next(r for r in parse(f"a{suffix}", good).records if r.kind == "function")
    assert (record.tokens, record.ast, record.metrics) == (whole.tokens, whole.ast, whole.metrics)
    assert (record.first, record.last, record.lines) == (whole.first, whole.last, whole.lines)


@pytest.mark.parametrize("suffix", FULL)
def test_a_file_of_which_nothing_can_be_read_says_so_without_its_text(suffix):
    _, bad = BROKEN[suffix]
    with pytest.raises(CorpusError) as caught:
        parse(f"a{suffix}", f"\n{bad}")
    assert str(caught.value) == "syntax error in line 2"


def test_methods_of_a_broken_python_class_are_read_each_for_itself():
    text = (
        "class A:\n    @a\n    def f(self):\n        # why\n        return g(1)\n\n"
        "    def g(self):\n        return = 1\n"
    )
    (record,) = parse("a.py", text).records
    assert (record.name, record.first, record.last, record.lines) == ("A.f", 2, 5, 4)
    assert " ".join(record.tokens) == (
        "@ a <NL> def f ( self ) : <NL> <IN> return g ( 1 ) <NL> <DE>"
    )
    assert record.comments == ((4, 4),)


def test_the_organizations_report_names_what_was_not_read(tmp_path):
    good, bad = BROKEN[".java"]
    (tmp_path / "A.java").write_text(good + bad)
    (tmp_path / "B.go").write_text(BROKEN[".go"][1])
    cache = tmp_path / "cache"
    for _ in range(2):
        corpus = read(f"path:{tmp_path}", "o", cache=cache)
        assert [(s.path, s.reason) for s in corpus.skipped] == [
            ("A.java", "syntax error: 1 of 2 functions read"),
            ("B.go", "syntax error in line 1"),
        ]
        assert [r.unit for r in corpus.records()] == ["A.java::A.good"]


def test_the_cache_and_other_processes_keep_all_that_was_found(tmp_path, monkeypatch):
    for i in range(70):
        text = f"class A {{ /* a */ int f{i}(int x) {{ if (x > {i}) g(); // b\n return x; }} }}\n"
        (tmp_path / f"A{i:02}.java").write_text(text)
    cache = tmp_path / "cache"
    fresh = read(f"path:{tmp_path}", "o")
    others = [
        read(f"path:{tmp_path}", "o", workers=2),
        read(f"path:{tmp_path}", "o", cache=cache),
        read(f"path:{tmp_path}", "o", cache=cache),
    ]
    wanted = [(r.language, r.first, r.last, r.ast, r.metrics, r.comments) for r in fresh.records()]
    assert wanted[0][:4] == ("java", 1, 2, ("d:f0", "f:if", "c:g", "f:return"))
    assert wanted[0][5] == ((1, 1),)
    for other in others:
        assert other == fresh
        assert [
            (r.language, r.first, r.last, r.ast, r.metrics, r.comments) for r in other.records()
        ] == wanted


@pytest.mark.parametrize("suffix", SOME)
@pytest.mark.parametrize("text", ["", "\n \n\t\n", "\f\n"])
def test_an_empty_file_gives_nothing(suffix, text):
    assert parse(f"a{suffix}", text).records == ()


COMMENTS = {".py": "# a\n  # b", ".rb": "# a", ".sql": "-- a\n", ".ml": "(* a *)", ".clj": "; a"}


@pytest.mark.parametrize("suffix", [s for s in SOME if s != ".erl"])
def test_a_file_of_comments_gives_nothing(suffix):
    assert parse(f"a{suffix}", COMMENTS.get(suffix, "// a\n/* b\n */\n// c")).records == ()


@pytest.mark.parametrize("suffix", SOME)
@pytest.mark.parametrize("text", ["x\0y", "x\ud800y"])
def test_characters_that_no_source_text_can_hold(suffix, text):
    with pytest.raises(CorpusError, match="holds characters that no source text can"):
        parse(f"a{suffix}", text)


@pytest.mark.parametrize("suffix", [".java", ".kt"])
@pytest.mark.parametrize(
    "data",
    [
        "class é {}".encode(),
        b"\xef\xbb\xbf" + "class é {}".encode(),
        "class é {}".encode("utf-16"),
        b"\xfe\xff" + "class é {}".encode("utf-16-be"),
        "class é {}".encode("utf-32"),
        "class é {}".encode("latin-1"),
    ],
)
def test_encodings(suffix, data):
    assert cut(f"a{suffix}", data).tokens == ("class", "é", "{", "}")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\x00", "not decodable as utf-8"),
        (b"class \x93x\x94 {}", "not decodable as utf-8"),
        (b"\xff\xfex", "not decodable as utf-16"),
    ],
)
def test_what_is_in_no_encoding(data, reason):
    with pytest.raises(CorpusError, match=reason):
        cut("a.java", data)


UNICODE = {
    ".py": "def größe_数(ä):\n    return ä\n",
    ".java": "class Ä { int größe_数(int ä) { return ä; } }",
    ".js": "function größe_数(ä) { return ä; }",
    ".ts": "function größe_数(ä: any) { return ä; }",
    ".cs": "class Ä { int größe_数(int ä) { return ä; } }",
    ".go": "func größe_数(ä int) int { return ä }",
    ".rs": "fn größe_数(ä: u8) -> u8 { ä }",
}


@pytest.mark.parametrize("suffix", UNICODE)
def test_names_of_other_alphabets(suffix):
    comment = "#" if suffix == ".py" else "//"
    text = f"{comment} 🙂 before\n{UNICODE[suffix]}\n"
    function = parse(f"a{suffix}", text).records[0]
    assert function.name.rpartition(".")[2] == "größe_数"
    assert function.ast[0] == "d:größe_数"
    assert function.tokens.count("ä") == 2
    assert (function.first, function.metrics.parameters) == (2, 1)


NESTED = [
    "(",
    "[",
    "{",
    "[{(",
    "{-",
    "(*",
    "--[[",
    "{{",
    "f(a,",
    "try{",
    "a=>{",
    "${",
    "f'{",
    "`${",
]
UNENDING = ["'", '"', "'''", '"""', "`", "/*", "//", "(*", "{-", 'R"(', '@"', '$"{', 'r#"', "'\\"]
ODD = ["a<", "-", "\\", "#", "/a", "1.", "0x", "é", "a ", "a?b:", "else if(a)", "\\\n", "\t", "\f"]


def in_time(suffix, text):
    """Reads a text or refuses it; gives how long that took."""
    start = time.process_time()
    with contextlib.suppress(CorpusError):
        parse(f"a{suffix}", text)
    return time.process_time() - start


@pytest.mark.parametrize("suffix", SOME)
def test_one_piece_over_and_over_costs_no_more_than_its_length(suffix):
    for unit in (*NESTED, *UNENDING, *ODD):
        text = unit * (8_000 // len(unit))
        assert in_time(suffix, text) < 2, unit


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SOME)
def test_the_longest_texts_of_one_piece(suffix):
    for unit in (*NESTED, *UNENDING, *ODD):
        text = unit * (LONG // len(unit))
        assert in_time(suffix, text) < 30, unit


@pytest.mark.parametrize("suffix", FULL)
def test_thousands_of_brackets(suffix):
    words = [f"({n}" for n in range(16_000)]
    with pytest.raises(CorpusError, match="nested too deeply"):
        parse(f"a{suffix}", "x = " + "".join(words) + ")" * 16_000)
    with pytest.raises(CorpusError, match="the same over and over"):
        parse(f"a{suffix}", "x = " + "(" * 99_000 + ")" * 99_000)


def test_a_line_of_two_hundred_thousand_characters():
    for suffix in (".py", ".js"):
        (record,) = parse(f"a{suffix}", f"x = [{', '.join(map(str, range(30_000)))}]").records
        assert record.tokens.count(",") == 29_999
    long = "".join(map(str, range(35_000)))
    (record,) = parse("a.java", f'class A {{ String a = "{long}"; }}').records
    assert "<STR>" in record.tokens


def test_what_could_take_memory_with_its_square_is_refused():
    limited = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))\n"
        "from fedcode.corpus import parse\n"
        "try: parse('a.java', ''.join(f'a{n}<' for n in range(25_000)))\n"
        "except Exception as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", limited], capture_output=True, text=True, env={**os.environ}
    )
    assert done.stdout == "takes too long to parse\n", done.stderr


def test_many_comparisons_in_python_are_no_lists_of_types():
    assert parse("a.py", "if a < b: c\n" * 1000).tokens.count("<") == 1000


def test_a_parse_that_takes_too_many_steps_is_given_up(monkeypatch):
    monkeypatch.setattr("fedcode.corpus.syntax._STEPS", 0)
    monkeypatch.setattr("fedcode.corpus.syntax._BYTES_A_STEP", 10**9)
    with pytest.raises(CorpusError, match="takes too long to parse"):
        parse("a.java", BROKEN[".java"][0] * 100)


@pytest.mark.parametrize("suffix", [".c", ".cpp"])
def test_continued_lines(suffix):
    text = '#define A(x) \\\n  (x)\nint f() { return "a\\\nb" == // c \\\n d\n  1; }\n'
    function, module = parse(f"a{suffix}", text).records
    assert " ".join(function.tokens) == "int f ( ) { return <STR> == 1 ; }"
    assert " ".join(module.tokens) == "#define A ( x ) ( x )"
    assert module.name == MODULE


def test_every_suffix_has_a_grammar_that_loads():
    for suffix in LANGUAGES:
        assert parse(f"a{suffix}", "// nothing\n" if suffix != ".py" else "").path == f"a{suffix}"
