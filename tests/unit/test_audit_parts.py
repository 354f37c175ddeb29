# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Canaries, what an observer makes of them, and what a model has learned by heart."""

import dataclasses

import numpy as np
import pytest
import torch
from toy_task import ToyTask, gradients, records

from fedcode.corpus.languages.indentation import lex
from fedcode.record import Corpus, Record, SourceFile, UnitId
from fedcode.simulation.canaries import canaries, planted, public_words, secrets
from fedcode.simulation.memory import exposure, exposures, extraction
from fedcode.task import Generates
from fedcode.tasks.completion import CompletionTask
from fedcode.tasks.defects import DefectsTask
from fedcode.tasks.ngram import NgramTask
from fedcode.training import network
from fedcode.training.observer import (
    Seen,
    count_scores,
    gradient_scores,
    over_rounds,
    record_losses,
)

CODE = "def load ( value , item ) : <NL> <IN> return self . store [ value ] + item <NL> <DE>"


def function(number, tokens):
    return Record(UnitId(f"a.py::f{number}"), "a.py", f"f{number}", "function", tuple(tokens), 1)


@pytest.fixture(scope="module")
def public():
    """Ten functions of public code."""
    own = tuple(function(i, [*CODE.split(), f"name{i}", "<NL>"]) for i in range(10))
    return Corpus("public", (SourceFile("a.py", tuple(t for r in own for t in r.tokens), own),))


def draw():
    return np.random.default_rng(5)


# Canaries and secrets.


def test_words_are_public_names_the_commonest_first(public) -> None:
    words = public_words(public)
    assert words[0] == "item", "it stands twice in every function, as value does"
    assert set(words) == {
        "item",
        "load",
        "self",
        "store",
        "value",
        *(f"name{i}" for i in range(10)),
    }


@pytest.mark.parametrize("make", [CompletionTask, DefectsTask, NgramTask])
def test_every_task_makes_something_of_every_canary(make, public) -> None:
    settings = {"vocabulary": 300} | ({"min_records": 1} if make is NgramTask else {})
    task = make.make(settings, public)
    made = canaries(public_words(public), task.labels, 40, draw())
    assert len({record.unit for record in made}) == 40, "each is a privacy unit of its own"
    if make is NgramTask:
        assert all(len(task.counts(record)[0]) for record in made)
    else:
        assert len(task.examples(made)) == 40
    labels = {record.label for record in made}
    assert labels == ({0, 1} if make is DefectsTask else {None})


def test_a_secret_is_code_that_the_lexer_keeps(public) -> None:
    (secret,) = secrets(public_words(public), [3], draw())
    copies = secret.records()
    assert len({record.unit for record in copies}) == 3
    (tokens,) = {record.tokens for record in copies}
    text = f'def {secret.name}():\n    return "{secret.digits}"\n'
    assert lex(text).tokens == tokens
    others = secret.others(50, draw())
    assert len({record.tokens for record in others}) == 50
    assert all(len(record.tokens) == len(tokens) for record in others)


def test_what_is_planted_is_trained_on_and_the_rest_stays(public) -> None:
    made = canaries(["a", "b"], "none", 3, draw())
    both = planted(public, [*made, *secrets(["x", "y"], [2], draw())[0].records()])
    assert both.records()[:10] == public.records()
    assert len(both.records()) == 15
    assert both.fingerprint == public.fingerprint


# What an observer makes of them.


def observed(seed):
    """A task, its model, examples, and rounds with random updates."""
    task = ToyTask()
    model = task.build()
    examples = task.examples(records([4, 9, 2, 30, 7], seed=seed))
    rng = np.random.default_rng(seed)
    size = network.layout(model).size
    rounds = [
        Seen(rng.normal(0, 0.2, size).astype("f4"), rng.normal(0, 0.5, size).astype("f4"))
        for _ in range(2)
    ]
    return task, model, examples, rounds


@pytest.mark.parametrize("seed", [1, 2])
def test_scores_are_the_products_of_updates_and_gradients(seed) -> None:
    task, model, examples, rounds = observed(seed)
    before = network.read(model)
    scores = gradient_scores(task, model, examples, rounds)
    assert (network.read(model) == before).all()
    exact = np.zeros((2, len(examples)))
    for number, (weights, update) in enumerate(rounds):
        network.write(model, weights)
        exact[number] = [-gradients(task, model, example) @ update for example in examples]
    assert scores == pytest.approx(exact, rel=0.02, abs=2e-3)


def test_what_decoys_have_in_common_with_an_update_is_taken_out() -> None:
    task, model, examples, rounds = observed(3)
    network.write(model, rounds[0].weights)
    shared = gradients(task, model, examples[0]).astype("f4")
    seen = [Seen(rounds[0].weights, -shared)]
    (kept,) = gradient_scores(task, model, examples, seen)
    left = gradient_scores(task, model, examples, seen, examples[:1])
    assert kept[0] == pytest.approx(float(shared @ shared), rel=0.02)
    assert np.abs(left).max() < 0.02 * kept[0]


def test_no_update_says_nothing() -> None:
    task, model, examples, rounds = observed(4)
    still = Seen(rounds[0].weights, np.zeros_like(rounds[0].update))
    assert not gradient_scores(task, model, examples, [still]).any()
    assert gradient_scores(task, model, examples, []).shape == (0, len(examples))


def test_losses_come_in_the_examples_order() -> None:
    task, model, examples, _ = observed(5)
    one_by_one = [float(task.losses(model, task.collate([e])).detach()) for e in examples]
    assert record_losses(task, model, examples) == pytest.approx(one_by_one, rel=1e-5)


def test_counts_are_found_in_a_sum_that_holds_them(public) -> None:
    task = NgramTask.make({"vocabulary": 300, "min_records": 1}, public)
    made = canaries(public_words(public), "none", 30, draw())
    update = np.zeros(task.size, np.float32)
    where, counts = task.counts(made[3])
    update[where] += counts
    scores = count_scores(task, made, [Seen(update, update), Seen(update, update)])
    assert scores.shape == (2, 30)
    assert (scores.argmax(axis=1) == 3).all()
    assert (scores[:, 3] < 1.0).all()


def test_one_round_that_stands_out_counts_where_few_are_sampled() -> None:
    """Ten rounds of noise; the first example stands out once, the second is a little up always."""
    scores = draw().normal(0, 1, (10, 2_000))
    scores[:, 0], scores[:, 1] = 0.0, 0.7
    scores[4, 0] = 5.0
    seldom, always = over_rounds(scores, 0.02), over_rounds(scores, 1.0)
    assert seldom[0] > seldom[1]
    assert always[1] > always[0]
    assert (seldom > seldom[0]).mean() < 0.01
    assert np.isfinite(over_rounds(np.zeros((3, 5)), 0.5)).all(), "no spread, nothing told apart"
    assert np.isfinite(over_rounds(1e30 * scores, 0.5)).all()


# What is learned by heart.


def test_exposure_is_the_rank_in_bits() -> None:
    others = np.arange(1.0, 1_024.0)
    assert exposure(0.5, others) == 10.0, "ahead of all"
    assert exposure(512.5, others) == pytest.approx(1.0, abs=0.01)
    assert exposure(9_999.0, others) == 0.0
    assert exposure(1.0, np.ones(1_023)) == 0.0, "a model that cannot tell them apart knows nothing"


def test_exposure_of_a_model_that_knows_nothing_is_small_on_average() -> None:
    rng = draw()
    bits = [exposure(rng.random(), rng.random(1_023)) for _ in range(4_000)]
    assert np.mean(bits) == pytest.approx(1 / np.log(2), abs=0.1)


@pytest.fixture(scope="module")
def learned(public):
    """A model that was trained on a secret and on functions until it knew them by heart."""
    settings = {"vocabulary": 300, "embedding": 32, "hidden": 64, "private": "all"}
    task = CompletionTask.make(settings, public)
    hidden = secrets(public_words(public), [1], draw())
    rng = draw()
    words = public_words(public)
    mine = [function(i, [words[j] for j in rng.integers(0, 15, 24)]) for i in range(6)]
    torch.manual_seed(1)
    model, untrained = task.build(), task.build()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    batch = task.collate(task.examples([*hidden[0].records(), *mine]))
    for _ in range(300):
        optimizer.zero_grad()
        task.losses(model, batch).sum().backward()
        optimizer.step()
    return task, model, untrained, hidden, mine


def test_a_secret_that_was_learned_is_exposed(learned) -> None:
    task, model, untrained, hidden, _ = learned
    (found,) = exposures(task, model, hidden, draw())
    assert found["largest"] == found["mean"] == found["detectable"] == 10.0
    (nothing,) = exposures(task, untrained, hidden, draw())
    assert nothing["largest"] < 8


def test_functions_that_were_learned_come_out_word_for_word(learned) -> None:
    task, model, untrained, _, mine = learned
    assert isinstance(task, Generates)
    found = extraction(task, model, mine, draw())
    assert found == {"functions": 6, "verbatim": 6, "rate": 1.0}
    assert extraction(task, untrained, mine, draw())["verbatim"] == 0
    other = [dataclasses.replace(r, tokens=r.tokens[::-1]) for r in mine]
    assert extraction(task, model, other, draw())["verbatim"] == 0
    short = [function(9, ["load"])]
    assert extraction(task, model, short, draw()) == {"functions": 0, "verbatim": 0, "rate": None}
