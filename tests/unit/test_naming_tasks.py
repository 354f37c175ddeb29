# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""`names-bilinear` and `names-attention`: what is read, what is learned, what is suggested."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from one_by_one import check

from fedcode.corpus import parse
from fedcode.errors import ConfigError, CorpusError
from fedcode.models.naming import END, PAD
from fedcode.record import Corpus
from fedcode.tasks.names_attention import AttentionTask
from fedcode.tasks.names_bilinear import BilinearTask
from fedcode.tasks.naming import (
    CALLED,
    HEAD,
    OWNER,
    PATH,
    f1,
    measures,
    question,
    written,
)

SETTINGS = {"vocabulary": 60, "subtokens": 20, "embedding": 6, "hidden": 6, "dropout": 0.0}
VERBS = {"load": "open", "count": "len", "store": "write", "order": "sorted"}
NOUNS = ("row", "page", "user", "token", "path", "graph", "item", "table")
METHODS = """
class HttpReader(Base):
    LIMIT = 3

    def read_all_lines(self, limit=3):
        found = self.source.read_all_lines(limit)
        return [line.strip() for line in found]

    def __len__(self):
        return 3
"""


def corpus(seed, number=40, permuted=False):
    """Functions whose names say what they call and on what."""
    draw = np.random.default_rng(seed)
    names = [(draw.choice(list(VERBS)), draw.choice(NOUNS)) for _ in range(number)]
    called = [names[i] for i in draw.permutation(number)] if permuted else names
    text = "".join(
        f"def {verb}_{noun}(value_{i}):\n    return {VERBS[own]}({thing}, value_{i}, {i})\n\n"
        for i, ((verb, noun), (own, thing)) in enumerate(zip(names, called, strict=True))
    )
    return Corpus("public", (parse("lib/code.py", text),))


PUBLIC = corpus(1)


@pytest.fixture(params=[BilinearTask, AttentionTask], ids=lambda kind: kind.name)
def task(request):
    return request.param.make(SETTINGS, PUBLIC)


@pytest.fixture
def model(task):
    torch.manual_seed(1)
    return task.build()


def record(text, name, path="web/http.py"):
    return next(r for r in parse(path, text).records if r.name == name)


def test_a_functions_own_name_is_masked_and_its_surroundings_are_read() -> None:
    asked = question(record(METHODS, "HttpReader.read_all_lines"))
    assert asked.name == ("read", "all", "lines")
    by_part = {part: [w for w, p in zip(asked.words, asked.parts, strict=True) if p == part]
               for part in (PATH, OWNER, HEAD, CALLED)}  # fmt: skip
    assert by_part[PATH] == ["web", "http"]
    assert by_part[OWNER] == ["http", "reader"]
    assert by_part[HEAD] == ["self", "limit"]
    assert by_part[CALLED] == ["strip"]
    assert "lines" not in asked.words, "nor where the body calls another one of its name"


def test_what_is_left_of_a_file_asks_for_its_first_class() -> None:
    asked = question(record(METHODS, "<module>"))
    assert (asked.kind, asked.name) == ("class", ("http", "reader"))
    assert "limit" in asked.words
    assert question(record(METHODS, "<module>"), classes=False) is None


def test_special_methods_are_not_asked_for() -> None:
    assert question(record(METHODS, "HttpReader.__len__")) is None


def test_an_unknown_setting_is_refused(task) -> None:
    with pytest.raises(ConfigError, match=f"{task.name}: width: unknown key"):
        type(task).make({"width": 3}, PUBLIC)


def test_a_record_is_looked_at_alone(task) -> None:
    records = PUBLIC.records("function")
    (alone,) = task.examples(records[5:6])
    among = task.examples(records)[5]
    for field in fields(alone):
        np.testing.assert_array_equal(getattr(alone, field.name), getattr(among, field.name))


def test_per_record_gradients_are_those_of_a_naive_loop(task, model) -> None:
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    examples = task.examples([*PUBLIC.records("function")[:5], record(METHODS, "<module>")])

    def losses(network, rows):
        return task.losses(network, task.collate(examples[rows]))

    check(model, losses, len(examples), nothing=None)


def test_padding_changes_nothing(task, model) -> None:
    model.eval()
    records = [record(METHODS, "HttpReader.read_all_lines"), PUBLIC.records("function")[0]]
    examples = task.examples(records)
    assert len({len(e.words) for e in examples}) == 2
    together = task.losses(model, task.collate(examples))
    alone = torch.cat([task.losses(model, task.collate([one])) for one in examples])
    torch.testing.assert_close(together, alone)


def trained(task, records, steps=150):
    torch.manual_seed(3)
    model = task.build()
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    batch = task.collate(task.examples(records))
    for _ in range(steps):
        optimizer.zero_grad()
        task.losses(model, batch).mean().backward()
        optimizer.step()
    return model


def test_it_learns_names_and_nothing_from_permuted_ones(task) -> None:
    task, test = type(task).make(SETTINGS | {"embedding": 24}, PUBLIC), corpus(2)
    found = task.measure(trained(task, PUBLIC.records("function")), test.files)
    assert found["f1"] > 0.6
    permuted = corpus(1, permuted=True).records("function")
    chance = task.measure(trained(task, permuted), test.files)["f1"]
    assert chance < 0.45, "a verb of four and a noun of eight can be right by chance"
    baselines = task.baselines(PUBLIC.files, {"unseen": test.files})
    assert {round(b["unseen"]["exact"], 9) <= 1 for b in baselines.values()} == {True}
    constant = next(iter(baselines.values()))["unseen"]["f1"]
    assert constant < 0.4 < found["f1"]


def test_only_attention_can_say_what_the_vocabulary_lacks() -> None:
    text = "def load_quux(value):\n    return open(quux, value, quux)\n"
    unknown = Corpus("own", (parse("a.py", text),))
    found = {}
    for kind in (BilinearTask, AttentionTask):
        task = kind.make(SETTINGS, PUBLIC)
        lines = [f"def load_{w}(value):\n    return open({w}, value, {w})\n" for w in "abcdefgh"]
        rare = Corpus("x", tuple(parse(f"{i}.py", t * 1) for i, t in enumerate(lines)))
        model = trained(task, [*rare.records("function")], steps=200)
        ((names,),) = (task.suggestions(model, unknown.records("function")),)
        found[kind] = names[0][0]
    assert "quux" not in found[BilinearTask]
    assert found[AttentionTask] == "load_quux"


def test_suggestions_are_ordered_and_written_as_the_name_is(task) -> None:
    model = trained(task, PUBLIC.records("function"), steps=60)
    one = PUBLIC.records("function")[0]
    camel = replace(one, name="loadRow", tokens=tuple("loadRow" if t == one.name else t
                                                      for t in one.tokens))  # fmt: skip
    special = record(METHODS, "HttpReader.__len__")
    snake, humps, none = task.suggestions(model, [one, camel, special], most=3)
    assert none == []
    for names in (snake, humps):
        chances = [chance for _, chance in names]
        assert 1 <= len(names) <= 3
        assert chances == sorted(chances, reverse=True)
        assert 0 < sum(chances) <= 1 + 1e-5
    assert all(name.islower() for name, _ in snake)
    assert all("_" not in name for name, _ in humps)


def test_a_beam_finds_what_trying_all_names_finds(task, model) -> None:
    """The likeliest name of one subtoken, by the probabilities of each."""
    model.eval().requires_grad_(False)
    batch = task.collate(task.examples(PUBLIC.records("function")[:3]))
    names, chances = model.likeliest(batch, 40, 1)
    size = max(model.vocabulary, int(batch.same.max()) + 1)
    first = model.next(batch, batch.words.new_zeros((3, 0)), size)
    for row in range(3):
        shown = {
            tuple(name): chance
            for name, chance in zip(names[row].tolist(), chances[row].tolist(), strict=True)
        }
        for word in range(END + 1, 8):
            said = batch.words.new_full((1, 1), word)
            rest = model.next(batch.of(torch.tensor([row])), said, size)[0, END]
            expected = float(first[row, word] + rest)
            if (word, END) in shown:
                assert shown[word, END] == pytest.approx(expected, abs=1e-4)
        assert (PAD, PAD) not in shown


def test_no_public_function_is_a_clear_error(task, model) -> None:
    with pytest.raises(CorpusError, match="no public record has a name"):
        next(iter(task.public_losses(model, (), 4, np.random.default_rng(1))))


def test_the_fingerprint_is_of_settings_and_vocabulary(task) -> None:
    kind = type(task)
    same = kind.make(SETTINGS, corpus(1)).fingerprint()
    assert task.fingerprint() == same
    others = [
        kind.make(SETTINGS | {"subtokens": 21}, PUBLIC).fingerprint(),
        kind.make(SETTINGS, Corpus("p", (parse("a.py", METHODS),))).fingerprint(),
    ]
    assert len({same, *others}) == 3


@pytest.mark.parametrize(
    ("own", "name"),
    [("read_it", "load_row"), ("_readIt", "_loadRow"), ("ReadIt", "LoadRow"), ("READ", "LOAD_ROW")],
)
def test_names_are_written_as_the_present_one(own, name) -> None:
    asked = question(record(f"def {own}(a):\n    return a\n", own))
    assert written(("load", "row"), asked) == name


def test_measures_by_hand() -> None:
    asked = question(record(METHODS, "HttpReader.read_all_lines"))
    assert f1(("read", "lines"), asked.name) == pytest.approx(0.8)
    assert f1((), asked.name) == 0
    found = measures([asked, asked], [("read", "all", "lines"), ("x",)])
    assert found == {"f1": 0.5, "exact": 0.5}
