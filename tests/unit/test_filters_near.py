# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Near-duplicates: which stay, how well J is estimated, what one record more changes."""

from __future__ import annotations

import random
from functools import partial

import numpy as np
import pytest
from datasketch import MinHash, MinHashLSH

from fedcode.corpus import near_duplicates, parse
from fedcode.corpus.filters import near
from fedcode.corpus.filters.near import FEWEST, NUMBERS, RUN, _bands, signatures
from fedcode.record import Corpus


def body(seed, number=60):
    draw = random.Random(seed)
    return [f"v{draw.randint(0, 500)} = w{draw.randint(0, 500)} + {draw.randint(0, 999)}"
            for _ in range(number // 6)]  # fmt: skip


def function(name, lines):
    return f"def {name}(x):\n" + "".join(f"    {line}\n" for line in lines)


def corpus(name, **files):
    return Corpus(name, tuple(parse(f"{path}.py", text) for path, text in sorted(files.items())))


def names(found):
    return [r.name for r in found.records("function")]


def changed(lines):
    return [*lines[:3], "v1 = other + 7", *lines[4:]]


ONE, TWO = body(1, 240), body(2, 240)


def test_the_first_stays_within_and_across_corpora():
    first = corpus("a", a=function("f", ONE), b=function("g", changed(ONE)))
    second = corpus("b", a=function("h", TWO), b=function("i", ONE[:-1]))
    found = near_duplicates([first, second], 0.85)
    assert [names(one) for one in found] == [["f"], ["h"]]
    assert [(t.filter, t.path, t.name) for one in found for t in one.taken] == [
        ("near_duplicates", "b.py", "g"),
        ("near_duplicates", "b.py", "i"),
    ]
    assert [one.duplicates for one in found] == [1, 1]
    assert [one.files[1].tokens for one in found] == [first.files[1].tokens, second.files[1].tokens]
    assert found[0].fingerprint != first.fingerprint
    assert names(near_duplicates([second, first], 0.85)[1]) == []


def test_short_functions_and_different_ones_stay():
    short = [function(f"f{n}", ["return x + 1"]) for n in range(5)]
    mixed = [function(f"g{n}", body(n, 240)) for n in range(5)]
    whole = corpus("a", a="\n".join(short + mixed))
    assert near_duplicates([whole], 0.85) == [whole]
    assert near_duplicates([whole], None) == [whole]


def test_another_similarity_takes_another_number():
    lines = body(3, 240)
    half = [*lines[:25], *body(4, 240)[25:]]
    both = corpus("a", a=function("f", lines), b=function("g", half))
    assert names(near_duplicates([both], 0.85)[0]) == ["f", "g"]
    assert names(near_duplicates([both], 0.3)[0]) == ["f"]


def by_datasketch(corpora, similarity):
    """Names that stay, by datasketch's own table of bands, one function after another."""
    bands, rows = _bands(similarity)
    table = MinHashLSH(num_perm=NUMBERS, params=(bands, rows))
    made = partial(MinHash, num_perm=NUMBERS, scheme="affine32")
    permutations, known, stay = made().permutations, [], []
    for record in (r for one in corpora for r in one.records("function")):
        (own,) = signatures([record.tokens], permutations)
        asked = made(hashvalues=own, permutations=permutations)
        alike = [np.count_nonzero(known[i] == own) for i in table.query(asked)]
        if max(alike, default=0) < similarity * NUMBERS:
            table.insert(len(known), asked)
            known.append(own)
            stay.append(record.name)
    return stay


@pytest.mark.parametrize("similarity", [0.3, 0.6, 0.85, 0.95])
@pytest.mark.parametrize("in_memory", [1, 1 << 25])
def test_what_stays_is_what_datasketch_says(similarity, in_memory, monkeypatch):
    monkeypatch.setattr(near, "_IN_MEMORY", in_memory)
    draw, lines = random.Random(9), [body(seed, 240) for seed in range(4)]
    texts = []
    for number in range(120):
        own = list(draw.choice(lines))
        for _ in range(draw.choice((0, 1, 2, 4, 9, 30))):
            own[draw.randrange(len(own))] = f"v{draw.randint(0, 500)} = other"
        texts.append(function(f"f{number:03}", own))
    corpora = [corpus("a", a="\n".join(texts[:70])), corpus("b", b="\n".join(texts[70:]))]
    found = near_duplicates(corpora, similarity)
    wanted = by_datasketch(corpora, similarity)
    assert [name for one in found for name in names(one)] == wanted
    assert 4 <= len(wanted) < 110


def jaccard(a, b):
    one, other = ({t[i : i + RUN] for i in range(len(t) - RUN + 1)} for t in (a, b))
    return len(one & other) / len(one | other)


def test_j_is_estimated_without_bias():
    draw, errors = random.Random(5), []
    rng = np.random.RandomState(1)
    numbers = np.array([rng.randint(0, 2**31, NUMBERS) * 2 + 1, rng.randint(0, 2**32, NUMBERS)])
    for _ in range(200):
        a = tuple(f"t{draw.randint(0, 400)}" for _ in range(draw.randint(FEWEST, 300)))
        start = draw.randint(0, len(a) - 20)
        b = (*a[:start], *(f"u{draw.randint(0, 400)}" for _ in range(8)), *a[start + 8 :])
        one, other = signatures([a, b], numbers.astype(np.uint32))
        errors.append(np.mean(one == other) - jaccard(a, b))
    assert abs(np.mean(errors)) < 0.01
    assert np.std(errors) < 0.06


def test_signatures_do_not_depend_on_their_neighbours():
    numbers = np.array([[3, 5, 7], [1, 2, 3]], np.uint32)
    texts = [tuple(f"t{n}" for n in range(k, k + 40 + k)) for k in range(5)]
    together = signatures(texts, numbers)
    assert all(
        np.array_equal(signatures([t], numbers)[0], own)
        for t, own in zip(texts, together, strict=True)
    )


@pytest.mark.parametrize("similarity", [0.01, 0.3, 0.5, 0.7, 0.85, 0.95, 1.0])
def test_bands_find_most_pairs_of_the_least_similarity(similarity):
    bands, rows = _bands(similarity)
    assert 2 <= bands * rows <= NUMBERS
    assert similarity < 0.03 or 1 - (1 - similarity**rows) ** bands >= 0.97


def test_one_record_less_can_bring_one_back_and_take_another():
    # a ~ b and b ~ c, but a and c are further apart: what stays of b and c depends on a
    lines = body(6, 600)
    a = lines
    b = [*body(7, 600)[:4], *lines[4:]]
    c = [*body(7, 600)[:4], *lines[4:-4], *body(8, 600)[-4:]]
    texts = {"a": function("a", a), "b": function("b", b), "c": function("c", c)}
    parts = {n: corpus("o", **{n: t}).records("function")[0].tokens for n, t in texts.items()}
    near, far = jaccard(parts["a"], parts["b"]), jaccard(parts["a"], parts["c"])
    similarity = (near + far) / 2
    whole = near_duplicates([corpus("o", **texts)], similarity)[0]
    rest = near_duplicates([corpus("o", b=texts["b"], c=texts["c"])], similarity)[0]
    assert names(whole) == ["a", "c"]
    assert names(rest) == ["b"]  # without a: b is back, and c is gone
    only_c = near_duplicates([corpus("o", a=texts["a"], c=texts["c"])], similarity)[0]
    assert names(only_c) == ["a", "c"]  # without b, which did not stay, nothing changes
