# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from torch.nn.functional import softplus

from fedcode.corpus import parse
from fedcode.corpus.labels import InjectedBugs
from fedcode.errors import ConfigError
from fedcode.record import Corpus
from fedcode.tasks.defects import TYPICAL, UNKNOWN, DefectsTask
from fedcode.training.per_record.recorder import Recorder
from fedcode.training.plain import PlainTrainer

SETTINGS = {
    "vocabulary": 300, "table": 20, "embedding": 12, "hidden": 10, "head": 8, "pointer": 6,
}  # fmt: skip

TEXT = "\n".join(
    f"def f{i}(low, high, step):\n    if low < high:\n        return run(low, high, {i})\n"
    + "    step = step + 1\n" * (i % 5)
    + "    return high - step\n"
    for i in range(120)
)  # fmt: skip


@pytest.fixture(scope="module")
def clean():
    return Corpus("public", (parse("a.py", TEXT),))


@pytest.fixture(scope="module")
def data(clean):
    return InjectedBugs(seed=1).label(clean)


@pytest.fixture(scope="module")
def task(clean):
    return DefectsTask.make(SETTINGS, clean)


@pytest.fixture
def model(task):
    torch.manual_seed(1)
    return task.build()


def read(model, batch):
    return model(batch.own, batch.tokens, batch.lengths)


def test_unknown_settings_are_named(clean):
    with pytest.raises(ConfigError, match="defects: colour"):
        DefectsTask.make({"colour": 1}, clean)


def test_the_fingerprint_follows_settings_and_public_code(task, clean):
    assert task.fingerprint() == DefectsTask.make(SETTINGS, clean).fingerprint()
    assert task.fingerprint() != DefectsTask.make({**SETTINGS, "hidden": 9}, clean).fingerprint()
    other = Corpus("public", (parse("a.py", TEXT.replace("step", "jump")),))
    assert task.fingerprint() != DefectsTask.make(SETTINGS, other).fingerprint()


def test_examples_are_the_labelled_functions(task, data):
    examples = task.examples(data.records())
    assert [e.label for e in examples] == [r.label for r in data.records() if r.label is not None]
    assert task.examples([replace(r, label=None) for r in data.records()]) == []


def test_an_example_tells_every_token_apart(task, data):
    for record, example in zip(
        data.records("function"), task.examples(data.records()), strict=True
    ):
        pairs = set(zip(record.tokens, example.tokens.tolist(), strict=True))
        assert len(pairs) == len(set(record.tokens)) == len(set(example.tokens.tolist()))
        assert example.tokens.max() < len(task.frequent) + len(example.own)


def test_long_records_are_cut_and_a_defect_behind_the_cut_has_no_place(clean, data):
    short = DefectsTask.make({**SETTINGS, "record_tokens": 12}, clean)
    examples = short.examples(data.records())
    assert {len(e.tokens) for e in examples} == {12}
    assert any(r.place is not None and r.place >= 12 for r in data.records())
    assert all(e.place == UNKNOWN or e.place < 12 for e in examples)


def test_a_record_is_read_alike_alone_and_beside_longer_ones(task, model, data):
    examples = sorted(task.examples(data.records()), key=task.length)
    short, long = examples[0], examples[-1]
    assert task.length(short) < task.length(long)
    alone, together = task.collate([short]), task.collate([short, long])
    torch.testing.assert_close(task.losses(model, alone)[0], task.losses(model, together)[0])
    torch.testing.assert_close(read(model, alone).logits[0], read(model, together).logits[0])


def test_a_token_is_guessed_without_being_seen(task, model, data):
    example = task.examples(data.records())[0]
    batch = task.collate([example])
    x = torch.randn(1, len(example.tokens), task.settings.embedding)
    inside = torch.ones(1, len(example.tokens), dtype=torch.bool)
    changed = x.clone()
    changed[0, 7] += 1
    before = model._context(x, batch.lengths, inside)
    after = model._context(changed, batch.lengths, inside)
    moved = (before != after).any(2)[0]
    assert not moved[7]
    assert moved[6]
    assert moved[8]


def test_losses_are_the_softmax_over_no_defect_and_all_places(task, model, data):
    examples = task.examples(data.records())
    batch = task.collate(examples)
    with torch.no_grad():
        reading, losses = read(model, batch), task.losses(model, batch)
    rest = losses - task.settings.guessing / TYPICAL * reading.surprise
    chances = torch.cat([torch.zeros(len(examples), 1), reading.scores], 1).log_softmax(1)
    place = torch.tensor([e.place + 1 if e.label else 0 for e in examples])
    torch.testing.assert_close(rest, -chances.gather(1, place[:, None])[:, 0])


def test_without_a_place_the_loss_is_that_of_the_label(task, model, data):
    examples = [replace(e, place=UNKNOWN) for e in task.examples(data.records())]
    batch = task.collate(examples)
    with torch.no_grad():
        reading, losses = read(model, batch), task.losses(model, batch)
    rest = losses - task.settings.guessing / TYPICAL * reading.surprise
    signs = 1 - 2 * batch.labels
    torch.testing.assert_close(rest, softplus(signs * reading.logits))


@pytest.mark.parametrize("private", ["network", "head"])
def test_each_record_has_the_gradient_it_has_alone(clean, data, private):
    task = DefectsTask.make({**SETTINGS, "private": private}, clean)
    torch.manual_seed(1)
    model = task.build()
    assert not model.embedding.weight.requires_grad
    assert model.guess.weight.requires_grad == (private == "network")
    examples = task.examples(data.records())[:3] + task.examples(data.records())[-3:]
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    recorder = Recorder(model)
    with recorder.recording(len(examples), "samples") as tape:
        task.losses(model, task.collate(examples)).sum().backward()
    found = [torch.zeros(len(examples), *p.shape) for p in recorder.parameters]
    tape.gather(torch.arange(len(examples)), found)
    together = dict(zip(trained, found, strict=True))
    for number, example in enumerate(examples):
        model.zero_grad()
        task.losses(model, task.collate([example])).sum().backward()
        for name, parameter in trained.items():
            torch.testing.assert_close(
                together[name][number], parameter.grad, rtol=1e-3, atol=1e-5, msg=name
            )


def test_the_warm_start_learns(task, model, clean):
    model.embedding.weight.requires_grad_(True)
    losses = []
    stream = task.public_losses(model, clean.files, 16, np.random.default_rng(1))
    assert task.public_steps(clean.files, 16) == 120 // 16
    trainer = PlainTrainer(model, 60, learning_rate=0.01)
    trainer.train(stream, range(60), tell=lambda _, x: losses.append(x))
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])


def test_the_warm_start_draws_other_bugs_in_each_pass_unless_labels_are_given(task, clean, data):
    seen = []

    class Watching(DefectsTask):
        def losses(self, model, batch):
            seen.append(sorted(batch.labels.tolist()))
            return torch.zeros(len(batch.labels))

    watching = Watching(task.settings, task.subwords, task.frequent)
    for files in (clean.files, data.files):
        stream = watching.public_losses(None, files, 1000, np.random.default_rng(1))
        list(islice(stream, 2))
    assert seen[0] != seen[1]
    assert seen[2] == seen[3]


def test_measuring_does_not_depend_on_the_order_of_files(task, model, data):
    records = data.files[0].records
    halves = [replace(data.files[0], records=part) for part in (records[:60], records[60:])]
    found = task.measure(model, halves)
    assert set(found) == {metric.key for metric in task.metrics}
    assert task.measure(model, halves[::-1])["auc"] == pytest.approx(found["auc"])
    assert task.measure(model, []) == {}


def test_baselines_are_measured_on_each_set_of_files(task, data):
    rows = task.baselines(data.files, {"": data.files, "none": []})
    assert list(rows) == ["lines of code only, no privacy", "bag of tokens, no privacy"]
    for row in rows.values():
        assert set(row[""]) == {metric.key for metric in task.metrics}
        assert row["none"] == {}
