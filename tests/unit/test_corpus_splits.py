# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib

import pytest

from fedcode.corpus import arrange, deduplicate, distinct_files, parse, split, without
from fedcode.record import Corpus, Skipped


def corpus(name, **files):
    return Corpus(name, tuple(parse(f"{path}.py", text) for path, text in files.items()))


def units(corpus):
    return [r.unit for r in corpus.records()]


def indented(text):
    return "".join(f"    {line}\n" for line in text.splitlines())


F = "def f(x):\n    return x\n"
F_AGAIN = "def f( x ):  # the same\n\n    return x\n"
G = "def g(x):\n    return x\n"
H = "def h(x):\n    return x\n"


def test_equal_records_are_removed_within_and_across_organizations():
    first = corpus("first", a=F + "x = 1\n", b="y = 1\n" + F_AGAIN + G)
    second = corpus("second", c=G + H + "y = 1\n")
    one, two = deduplicate([first, second])
    assert units(one) == ["a.py::f", "a.py::<module>", "b.py::g", "b.py::<module>"]
    assert units(two) == ["c.py::h"]
    assert (one.duplicates, two.duplicates) == (1, 2)
    assert [f.tokens for f in two] == [f.tokens for f in second]
    assert one.fingerprint != first.fingerprint
    assert deduplicate([one, two]) == [one, two]


def test_the_first_in_order_keeps_it():
    o, p = corpus("o", a=F), corpus("p", b=F + G)
    assert [units(c) for c in deduplicate([o, p])] == [["a.py::f"], ["b.py::g"]]
    assert [units(c) for c in deduplicate([p, o])] == [["b.py::f", "b.py::g"], []]


def test_equal_files_go_as_a_whole():
    one, two = distinct_files([corpus("o", a=F + G), corpus("p", b=F_AGAIN + G, c=F + H)])
    assert len(one.files) == 1
    assert [f.path for f in two] == ["c.py"]
    assert two.duplicates == 2


def test_public_code_loses_what_stands_in_an_organization():
    mixed = "import x\n@a\nclass A:\n    @a\n" + indented(F) + indented(G) + "end = 1\n" + H
    public = corpus("public", a=mixed, b=F, c=H, d="x = 1\n" + G)
    organizations = [
        corpus("o", a="class B:\n    @a\n" + indented(F)),
        corpus("p", c=H, d="x = 1\n"),
    ]
    rest = without(public, organizations)
    left = {
        "a.py": "import x\n@a\nclass A:\n" + indented(G) + "end = 1\n",
        "b.py": F,
        "d.py": G,
    }
    assert {f.path: f.tokens for f in rest} == {p: parse(p, t).tokens for p, t in left.items()}
    assert units(rest) == ["a.py::A.g", "a.py::<module>", "b.py::f", "d.py::g"]
    assert rest.duplicates == 4


def test_held_out_files_are_known_by_their_names_digest():
    whole = Corpus(
        "o",
        tuple(parse(f"f{i:03}.py", f"x = {i}") for i in range(200)),
        skipped=(Skipped("bad.py", "syntax error"),),
    )
    train, heldout = split(whole, 5)
    assert {f.path for f in heldout} == {
        f.path for f in whole if int(hashlib.md5(f"o/{f.path}".encode()).hexdigest(), 16) % 5 == 0
    }
    assert sorted(f.path for f in (*train, *heldout)) == [f.path for f in whole]
    assert 20 <= len(heldout.files) <= 60
    assert (train.skipped, heldout.skipped) == (whole.skipped, ())
    assert len({whole.fingerprint, train.fingerprint, heldout.fingerprint}) == 3


@pytest.fixture
def federation():
    """Organizations with functions of their own, each in two files, and functions in common."""

    def make(name, k):
        files = {}
        for i in range(40):
            shared = "".join(
                f"def shared_{j}(x):\n    return {j}\n" for j in range(200) if (j * k + i) % 37 == 0
            )
            files[f"f{i}"] = f"m = {i % 7}\ndef own_{name}_{i % 20}(): pass\n{shared}"
        return corpus(name, **files)

    roles = ["train", "unseen", "train", "validation", "unseen"]
    return [(role, make(f"o{k}", k)) for k, role in enumerate(roles, start=1)], make("public", 6)


def test_no_measured_function_is_trained_on(federation):
    organizations, public = federation
    splits = arrange(organizations, public, 4)
    whole = {(c.name, f.path): f for _, c in organizations for f in c}
    measured = {
        record.tokens
        for c in (*splits.heldout, *splits.validation, *splits.unseen)
        for file in c
        for record in whole[c.name, file.path].records  # a file is measured as a whole
    }
    trained = {r.tokens for c in (*splits.train, splits.public) for r in c.records()}
    naive = {r.tokens for c in (split(organizations[0][1], 4)[0], public) for r in c.records()}
    assert len(naive & measured) > 50
    assert not trained & measured
    assert len(trained) > 30


def test_nothing_is_lost_but_copies(federation):
    organizations, public = federation
    splits = arrange(organizations, public, 4)
    groups = (splits.train, splits.heldout, splits.validation, splits.unseen)
    kept = [r.tokens for group in groups for c in group for r in c.records()]
    assert len(set(kept)) == len(kept)
    assert set(kept) == {r.tokens for _, c in organizations for r in c.records()}
    assert [c.name for c in splits.train] == [c.name for c in splits.heldout] == ["o1", "o3"]
    assert [c.name for c in splits.unseen] == ["o2", "o5"]
    for (_, whole), train, heldout in zip(
        organizations[::2], splits.train, splits.heldout, strict=False
    ):
        sides = [{f.path for f in side} for side in split(whole, 4)]
        assert [{f.path for f in train}, {f.path for f in heldout}] == sides


def test_no_function_of_an_organization_stays_in_public_files():
    own = "".join(f"def f{i}(): pass\n" for i in range(9))
    public = corpus("public", a="x = 1\n" + own + "class A:\n    y = 1\n", b=own + "z = 1\n")
    organizations = [("train", corpus("o", **{f"f{i}": f"def f{i}(): pass\n" for i in range(8)}))]
    rest = arrange(organizations, public, 4).public
    assert [f.tokens.count("def") for f in rest] == [1, 1]
    assert [r.name for r in rest.records("function")] == ["f8"]  # once
