# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The deep belief network: its units, its layers, and its records' gradients."""

import json
import re
from dataclasses import asdict, replace
from itertools import islice

import numpy as np
import pytest
import torch
from one_by_one import check
from torch import nn

from fedcode.errors import ConfigError, CorpusError, TrainingError
from fedcode.models.belief import DeepBelief
from fedcode.record import Corpus, Metrics, Record, SourceFile, UnitId
from fedcode.simulation.population import code
from fedcode.tasks import TASKS, make
from fedcode.tasks.belief import BeliefTask, place
from fedcode.tasks.belief_layers import FirstLayer, SecondLayer
from fedcode.tasks.defect_measures import FIELD
from fedcode.training.network import tensors
from fedcode.training.per_record.recorder import Recorder
from fedcode.training.per_record.verify import verify
from fedcode.training.plain import PlainTrainer, record_losses

SETTINGS = {"words": 24, "folders": 8, "features": ("age", "debt"), "hidden": (6, 5)}
BATCH = 5
NONE = Corpus("public", ())


def record(number, label=None, **changes):
    """A class; those with a label call ``close`` where they are sound."""
    rng = np.random.default_rng(number)
    ast = [f"c:{w}" for w in rng.choice(["openFile", "read", "writeAll", "lock"], 1 + number % 7)]
    unit = UnitId(f"org/a{number % 3}/C{number}::C")
    plain = Record(
        unit, f"org/a{number % 3}/C{number}", "C", "class", (), 10 + number, label,
        ast=(*ast, "f:if", *(["c:close"] if label == 0 else [])),
        metrics=Metrics(calls=len(ast)), features=(("age", 3.0 * number), ("other", 1.0)),
    )  # fmt: skip
    return replace(plain, **changes)


RECORDS = [record(i, i % 2) for i in range(40)]


def phase(kind, **changes):
    return kind.make(SETTINGS | changes, NONE)


def moved(task, seed=3):
    """The task's network with weights that are all of some size."""
    torch.manual_seed(seed)
    model = task.build()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    return model


def test_units_are_values_from_0_to_1_and_say_what_they_should() -> None:
    task = phase(BeliefTask)
    one = task.encode(record(4, 1))
    assert one.shape == (task.visible,)
    assert one.dtype == np.float32
    assert one.min() >= 0
    assert one.max() <= 1
    scale = np.log1p(2.0**12)
    assert one[0] == pytest.approx(np.log1p(14) / scale)
    assert one[9] == pytest.approx(np.log1p(12.0) / scale), "age, the first of the features"
    assert one[10] == 0, "a feature that the record lacks"
    folders = one[-8:]
    assert set(np.flatnonzero(folders)) == {place("org", 8), place("a1", 8)}


def test_what_is_huge_negative_or_called_oddly_is_a_unit_too() -> None:
    task = phase(BeliefTask)
    odd = record(1, ast=("c:", "c:\ud800", "f:if", "d:operator()"), features=(("age", -1e30),))
    assert np.isfinite(task.encode(odd)).all()
    assert task.encode(odd)[9] == 1


def test_parts_of_names_share_units_and_their_kinds_do_not() -> None:
    task = phase(BeliefTask, words=4096)
    one, two, three = (
        set(np.flatnonzero(task.encode(record(0, ast=ast))[11:-8]))
        for ast in (("c:openFile",), ("c:fileOpen",), ("d:openFile",))
    )
    assert one == two
    assert len(one) == 2
    assert not one & three


def test_no_units_at_all_but_the_numbers() -> None:
    task = phase(BeliefTask, words=0, folders=0, features=())
    assert task.encode(record(3)).shape == (9,)


def test_examples_are_what_a_phase_learns_from() -> None:
    data = [record(0, 1), record(1), record(2, 0, kind="function"), record(3, 0, kind="module")]
    assert [e.label for e in phase(BeliefTask).examples(data)] == [1, 0]
    assert len(phase(FirstLayer).examples(data)) == 3
    assert [len(e.draws) for e in phase(SecondLayer).examples(data)] == [5, 5, 5]


@pytest.mark.parametrize("kind", [FirstLayer, SecondLayer, BeliefTask])
def test_all_phases_build_the_same_network_and_train_their_own_part(kind) -> None:
    model = phase(kind).build()
    shapes = {name: value.shape for name, value in tensors(model).items()}
    assert shapes == {
        name: value.shape for name, value in tensors(phase(BeliefTask).build()).items()
    }
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    ups = {f"layers.{i}.{part}" for i in (0, 1) for part in ("weight", "bias")}
    assert (
        trained
        == {
            FirstLayer: {"layers.0.weight", "layers.0.bias", "machines.0.visible_bias"},
            SecondLayer: {"layers.1.weight", "layers.1.bias", "machines.1.visible_bias"},
            BeliefTask: ups | {"head.weight", "head.bias"},
        }[kind]
    )


@pytest.mark.parametrize("kind", [FirstLayer, SecondLayer, BeliefTask])
def test_gradients_one_by_one(kind) -> None:
    task = phase(kind)
    examples = task.examples(RECORDS[:BATCH])
    batch = task.collate(examples)

    def losses(model, rows):
        own = task.collate(examples[rows])
        exact = replace(own, visible=own.visible.to(model.head.weight.dtype))
        return task.losses(model, replace(exact, labels=own.labels.to(exact.visible.dtype)))

    assert len(batch.labels) == BATCH
    # what data and model have in common cancels out: norms are a little too large, never too small
    check(moved(task), losses, BATCH, tolerance=1e-3)


def test_gradients_of_the_unrolled_network_are_those_of_the_formula() -> None:
    task = phase(BeliefTask, hidden=(6,))
    batch, model = task.collate(task.examples(RECORDS[:BATCH])), moved(task)
    recorder = Recorder(model)
    with recorder.recording(BATCH) as tape:
        task.losses(model, batch).sum().backward()
    with torch.no_grad():
        x, y = batch.visible, batch.labels
        h = model.layers[0](x).sigmoid()
        apart = torch.sigmoid(model(x) + np.log(0.2 / 0.8)) - y
        inner = apart[:, None] * model.head.weight * h * (1 - h)
        expected = [
            inner.square().sum(1) * x.square().sum(1), inner.square().sum(1),
            apart.square() * h.square().sum(1), apart.square(),
        ]  # fmt: skip
    for found, exact in zip(tape.squares(), expected, strict=True):
        torch.testing.assert_close(found, exact, rtol=1e-4, atol=1e-9)


def test_draws_depend_on_the_record_alone() -> None:
    task = phase(FirstLayer)
    alone, beside = task.examples(RECORDS[3:4])[0], task.examples(RECORDS)[3]
    np.testing.assert_array_equal(alone.draws, beside.draws)
    assert np.mean([e.draws.mean() for e in task.examples(RECORDS)]) == pytest.approx(0.5, abs=0.1)


def test_draws_of_the_whole_batch_are_refused() -> None:
    class Shared(FirstLayer):
        """The mistake: what is drawn for a record depends on who stands beside it."""

        def losses(self, model, batch):
            draws = torch.rand(batch.draws.shape, generator=torch.Generator().manual_seed(1))
            return super().losses(model, replace(batch, draws=draws.flip(0)))

    verify(
        phase(FirstLayer), Recorder(moved(phase(FirstLayer))), phase(FirstLayer).examples(RECORDS)
    )
    task = phase(Shared)
    with pytest.raises(TrainingError, match="more than one record"):
        verify(task, Recorder(moved(task)), task.examples(RECORDS))


def trained(task, model, steps):
    """``model`` after plain steps on all records."""
    losses = record_losses(task, model, task.examples(RECORDS), 20, np.random.default_rng(0))
    PlainTrainer(model, steps, learning_rate=0.05).train(losses, range(steps))
    return model


FILES = [SourceFile(r.path, (), (r,)) for r in RECORDS]


def test_it_learns_phase_after_phase() -> None:
    torch.manual_seed(0)
    first, last = phase(FirstLayer, hidden=(16,)), phase(BeliefTask, hidden=(16,))
    model = first.build()
    before = first.measure(model, FILES)["reconstruction"]
    trained(first, model, 150)
    assert first.measure(model, FILES)["reconstruction"] < 0.5 * before
    model.train_unrolled()
    found = last.measure(trained(last, model, 600), FILES)
    assert found["auc"] > 0.9
    assert set(found) == {metric.key for metric in FIELD}


def test_a_chance_of_one_half_is_the_public_prior() -> None:
    chances = [
        phase(BeliefTask, prior=prior).chances(phase(BeliefTask).build(), RECORDS)
        for prior in (0.1, 0.9)
    ]
    assert np.all(np.concatenate(chances) == 0.5), "untrained, whatever the prior"
    task = phase(BeliefTask, prior=0.1)
    batch = task.collate(task.examples(RECORDS[:2]))
    losses = task.losses(task.build(), batch).tolist()
    assert losses == pytest.approx([-np.log(0.9), -np.log(0.1)], rel=1e-5)


def test_baselines_are_named() -> None:
    task = phase(BeliefTask)
    rows = task.baselines(FILES, {"": FILES, "none": []})
    assert all(set(found) == {"", "none"} and not found["none"] for found in rows.values())
    assert rows["bag of tokens, no privacy"][""]["auc"] == 1
    mean = phase(FirstLayer).baselines(FILES, {"": FILES, "none": []})
    assert mean["every unit at its mean, no privacy"]["none"] == {}


def test_a_layer_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="belief-3 trains layer 3, and hidden names 2"):
        make("belief-3", SETTINGS, NONE)
    with pytest.raises(ConfigError, match=re.escape("belief-1: colour")):
        make("belief-1", {"colour": 1}, NONE)
    assert {"belief-1", "belief-2", "belief-3", "defects-belief"} < set(TASKS)


def test_the_fingerprint_follows_the_phase_and_its_settings() -> None:
    found = [phase(FirstLayer), phase(BeliefTask), phase(BeliefTask, words=25)]
    assert len({task.fingerprint() for task in found}) == 3
    assert phase(FirstLayer).fingerprint() == found[0].fingerprint()


@pytest.mark.parametrize("kind", [FirstLayer, BeliefTask])
def test_public_losses_go_on_and_need_public_records(kind) -> None:
    task = phase(kind)
    model, order = task.build(), np.random.default_rng(0)
    assert task.public_steps(FILES, 16) == 3
    assert len(list(islice(task.public_losses(model, FILES, 16, order), 7))) == 7
    with pytest.raises(CorpusError, match="no public record is of use"):
        next(task.public_losses(model, [], 16, order))


def test_one_layer_is_trained_on_what_those_below_give() -> None:
    torch.manual_seed(0)
    model = DeepBelief(7, (4, 3), 0.5)
    v, draws = torch.rand(2, 7), torch.rand(2, 3)
    model.train_layer(1)
    model.divergence(v, 1, draws).sum().backward()
    assert model.layers[0].weight.grad is None
    torch.testing.assert_close(
        model.divergence(v, 1, draws), model.machines[1](model.layers[0](v).sigmoid(), draws)
    )
    assert model.layers[1].weight is model.machines[1].weight


def test_a_record_of_a_population_keeps_what_its_units_are_made_of() -> None:
    task, one = phase(BeliefTask), record(3, 1)
    packed = code._record(json.dumps(asdict(one)).encode())
    assert packed == one
    np.testing.assert_array_equal(task.encode(packed), task.encode(one))
