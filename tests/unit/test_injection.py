# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import pytest

from fedcode.corpus import parse
from fedcode.corpus.injection import PATTERNS, Function, attributes, sites
from fedcode.corpus.labels import InjectedBugs
from fedcode.record import Corpus

BY_NAME = {pattern.name: pattern for pattern in PATTERNS}


def versions(pattern, text):
    """All defective versions of the only function of ``text``, as readable strings."""
    file = parse("a.py", text)
    tokens = next(r.tokens for r in file.records if r.kind == "function")
    function = Function(tokens, attributes(tokens))
    found = BY_NAME[pattern].find(function)
    return {" ".join(s.apply(tokens, i)) for s in found for i in range(len(s.choices))}


def body(statement, arguments="a, b, i, xs"):
    """A function of one statement, and what its tokens look like around the statement."""
    head = " ".join(parse("a.py", f"def f({arguments}): pass\n").tokens[:-2])
    return f"def f({arguments}):\n    {statement}\n", lambda s: f"{head} <NL> <IN> {s} <NL> <DE>"


@pytest.mark.parametrize(
    ("pattern", "statement", "expected"),
    [
        ("variable misuse", "return xs", {"return a", "return b", "return i"}),
        ("swapped arguments", "g(a, 1)", {"g ( 1 , a )"}),
        ("swapped arguments", "g(a, b, key=i)", {"g ( b , a , key = i )"}),
        ("swapped arguments", "max(a, b)", set()),
        ("swapped arguments", "g(*a, b)", set()),
        ("swapped arguments", "g(a, a)", set()),
        ("wrong operator", "return a == b", {"return a != b"}),
        ("wrong operator", "return a and b", {"return a or b"}),
        ("wrong operator", "return -a", set()),
        ("wrong operator", "return 'x' + a", set()),
        ("wrong operator", "a += b", {"a -= b", "a = b"}),
        ("off by one", "return a < b", {"return a <= b"}),
        ("off by one", "return xs[0]", {"return xs [ 1 ]"}),
        ("off by one", "return a - 3", {"return a - 4", "return a - 2"}),
        ("off by one", "return xs[i]", {"return xs [ i + 1 ]", "return xs [ i - 1 ]"}),
        ("off by one", "g(3)", set()),
        ("negated condition", "assert a", {"assert not a"}),
        ("negated condition", "assert not a", {"assert a"}),
        ("negated condition", "return a is b", {"return a is not b"}),
        ("negated condition", "return a is not b", {"return a is b"}),
        ("negated condition", "return a not in xs", {"return a in xs"}),
        ("negated condition", "return a in xs", {"return a not in xs"}),
        ("negated condition", "for i in xs: pass", set()),
        ("wrong attribute", "a.x = a.y", {"a . x = a . x"}),
        ("wrong attribute", "a.x(a.y)", set()),
    ],
)
def test_a_pattern_gives_these_bugs_and_no_others(pattern, statement, expected):
    text, framed = body(statement)
    assert versions(pattern, text) == {framed(one) for one in expected}


def test_removing_and_inserting_plus_one_are_each_others_inverse():
    text, framed = body("return xs[i + 1]")
    assert framed("return xs [ i ]") in versions("off by one", text)


def test_a_variable_is_only_mistaken_for_one_bound_above():
    found = versions("variable misuse", "def f(a):\n    g(a)\n    b = 1\n    g(a, b)\n")
    assert not any("g ( b ) <NL>" in version for version in found)
    assert any("g ( b , b )" in version for version in found)


def test_the_signature_and_decorators_stay_as_they_are():
    text = "@d(a < 1)\ndef f(a, b=1 < 2, *, c=x.y):\n    pass\n"
    file = parse("a.py", text)
    assert sites(Function(file.records[0].tokens, attributes(file.records[0].tokens))) == {}


SOURCE = (
    "LIMIT = 1\n"
    + "".join(
        f"def f{i}(a, b):\n    if a < b and a:\n        return g(a, b + {i % 7})\n"
        "    return a.x - a.y\n"
        for i in range(400)
    )
    + "def plain():\n    pass\n"
    + "def long(a):\n"
    + "    g(a, 1)\n" * 40
)


@pytest.fixture(scope="module")
def clean():
    return Corpus("one", (parse("a.py", SOURCE),))


@pytest.fixture(scope="module")
def labelled(clean):
    return InjectedBugs(seed=1).label(clean)


def test_about_half_of_the_eligible_functions_are_defective(labelled):
    labels = [r.label for r in labelled.records("function")]
    assert labels.count(None) == 2
    assert 160 < labels.count(1) < 240
    assert labels.count(0) == 400 - labels.count(1)


def test_short_of_sites_or_too_long_means_unlabelled(clean, labelled):
    label = {r.name: r.label for r in labelled.records()}
    assert label["plain"] is label["long"] is label["<module>"] is None
    longer = InjectedBugs(seed=1, longest=10_000).label(clean)
    assert {r.name: r.label for r in longer.records()}["long"] is not None


def test_only_defective_functions_change_and_only_from_their_place_on(clean, labelled):
    for before, after in zip(clean.records(), labelled.records(), strict=True):
        if after.label == 1:
            assert after.tokens != before.tokens
            assert after.place is not None
            assert after.tokens[: after.place] == before.tokens[: after.place]
            assert 0 <= after.place < len(after.tokens)
        else:
            assert after == replace(before, label=after.label)


def test_units_lines_and_files_stay(clean, labelled):
    assert [f.tokens for f in labelled] == [f.tokens for f in clean]
    assert labelled.fingerprint == clean.fingerprint
    for before, after in zip(clean.records(), labelled.records(), strict=True):
        assert (after.unit, after.lines) == (before.unit, before.lines)


def test_labels_do_not_depend_on_what_else_is_read(labelled):
    file = parse("a.py", SOURCE)
    fewer = Corpus("other", (replace(file, records=file.records[300:100:-1]),))
    known = {r.unit: r for r in labelled.records()}
    for record in InjectedBugs(seed=1).label(fewer).records():
        assert record == known[record.unit]


def test_another_seed_chooses_another_half(clean, labelled):
    other = InjectedBugs(seed=2).label(clean)
    pairs = zip(labelled.records("function"), other.records("function"), strict=True)
    same = sum(a.label == b.label for a, b in pairs if a.label is not None)
    assert 150 < same < 250


def test_every_pattern_is_drawn(clean, labelled):
    drawn = set()
    for before, after in zip(clean.records(), labelled.records(), strict=True):
        if after.label == 1:
            function = Function(before.tokens, attributes(before.tokens))
            drawn |= {
                pattern.name
                for pattern, found in sites(function).items()
                for site in found
                for choice in range(len(site.choices))
                if site.apply(before.tokens, choice) == after.tokens
            }
    assert drawn == set(BY_NAME)


def test_a_function_that_is_taken_away_changes_no_other():
    """Read anew, with and without: what one function says stands in no other one's record."""
    source = "\n\n\n".join(f"def f{n}(a):\n    return a.left_{n}[a.right_{n}]" for n in range(200))
    secret = "\n\n\ndef secret(a):\n    return a.hidden_salary[a.hidden_bonus]\n"
    without, with_ = (
        {r.unit: r for r in InjectedBugs(3).label(Corpus("c", (parse("a.py", text),))).records()}
        for text in (source, source + secret)
    )
    assert {u.partition("::")[2] for u in set(with_) - set(without)} == {"secret"}
    assert all(with_[unit] == record for unit, record in without.items())
    assert sum(record.label == 1 for record in without.values()) > 50
