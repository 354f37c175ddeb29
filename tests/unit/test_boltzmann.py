# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The Boltzmann machine: its loss is contrastive divergence, its per-record gradients are exact."""

import pytest
import torch
from one_by_one import FORMS, check, in_form, recorded
from torch import nn

from fedcode.errors import TrainingError
from fedcode.models import boltzmann
from fedcode.models.boltzmann import BoltzmannMachine
from fedcode.training.per_record.recorder import Recorder

BATCH, VISIBLE, HIDDEN = 4, 9, 5


@pytest.fixture
def machine():
    torch.manual_seed(7)
    found = BoltzmannMachine(VISIBLE, HIDDEN)
    for parameter in found.parameters():
        nn.init.normal_(parameter)
    return found


@pytest.fixture
def draws(monkeypatch):
    """A loop over records needs the draws that each had in the batch: which records' come next."""
    rows = torch.rand(BATCH, HIDDEN, generator=torch.Generator().manual_seed(3))
    chosen = [slice(0, BATCH)]

    def drawn(chances, generator):
        return (rows[chosen[0]] < chances).to(chances.dtype)

    monkeypatch.setattr(boltzmann, "_drawn", drawn)
    return chosen


def of(v, draws):
    def losses(model, rows):
        draws[0] = rows
        x = v[rows].to(model.weight.dtype)
        weights = torch.linspace(1, 2, BATCH, dtype=x.dtype)[rows]
        return weights * model(x, torch.Generator())

    return losses


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("frozen", [None, "weight", "hidden_bias"])
def test_gradients_one_by_one(machine, draws, monkeypatch, form, binary, frozen) -> None:
    in_form(monkeypatch, form)
    v = torch.rand(BATCH, VISIBLE).round() if binary else torch.rand(BATCH, VISIBLE)
    if frozen:
        getattr(machine, frozen).requires_grad_(False)
    check(machine, of(v, draws), BATCH)


def test_a_gradient_is_that_of_contrastive_divergence(machine, draws) -> None:
    v = torch.rand(BATCH, VISIBLE)
    v0, h0, v1, h1 = _divergence(machine, v)
    machine(v, torch.Generator()).sum().backward()
    torch.testing.assert_close(machine.weight.grad, h1.T @ v1 - h0.T @ v0)
    torch.testing.assert_close(machine.visible_bias.grad, (v1 - v0).sum(0))
    torch.testing.assert_close(machine.hidden_bias.grad, (h1 - h0).sum(0))


def test_norms_have_the_closed_form(machine, draws) -> None:
    v = torch.rand(BATCH, VISIBLE)
    v0, h0, v1, h1 = _divergence(machine, v)
    found = recorded(machine, lambda m, i: m(v[i], torch.Generator()), BATCH)[0].squares()
    of_weight = (
        (v0.square().sum(1) * h0.square().sum(1)) + (v1.square().sum(1) * h1.square().sum(1))
    ) - 2 * (v0 * v1).sum(1) * (h0 * h1).sum(1)
    expected = [of_weight, (v0 - v1).square().sum(1), (h0 - h1).square().sum(1)]
    for square, exact in zip(found, expected, strict=True):
        torch.testing.assert_close(square, exact, rtol=1e-3, atol=0)
        assert (square >= exact * (1 - 1e-6)).all()


def _divergence(machine, v):
    """What contrastive divergence is made of, by the textbook."""
    with torch.no_grad():
        h0 = machine.hidden(v)
        v1 = machine.visible(boltzmann._drawn(h0, torch.Generator()))
        return v, h0, v1, machine.hidden(v1)


def test_what_comes_before_it_is_trained_too(draws, monkeypatch) -> None:
    in_form(monkeypatch, "gram")
    torch.manual_seed(7)
    x = torch.randn(BATCH, 6)
    model = nn.ModuleList([nn.Linear(6, VISIBLE), BoltzmannMachine(VISIBLE, HIDDEN)])

    def losses(model, rows):
        draws[0] = rows
        inner = model[0](x[rows].to(model[0].weight.dtype)).sigmoid()
        return model[1](inner, torch.Generator())

    check(model, losses, BATCH, of_whole=True)


def test_draws_are_those_of_the_generator(machine) -> None:
    v = torch.rand(BATCH, VISIBLE)
    one, two, other = (machine(v, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_it_learns_what_its_records_have_in_common() -> None:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    first = torch.rand(256, 1).round()
    v = torch.cat([first.expand(-1, 4), 1 - first.expand(-1, 4)], 1)
    machine = BoltzmannMachine(8, 4)
    optimizer = torch.optim.SGD(machine.parameters(), 0.5)
    for _ in range(400):
        optimizer.zero_grad()
        machine(v, generator).mean().backward()
        optimizer.step()
    seen, never = v[:1], v[:1].clone()
    never[0, 0] = 1 - never[0, 0]
    assert machine.free_energy(seen) < machine.free_energy(never) - 2
    assert (machine.visible(machine.hidden(seen)).round() == seen).all()


@pytest.mark.parametrize("shape", [(VISIBLE,), (BATCH + 1, VISIBLE), (BATCH, 1, VISIBLE)], ids=str)
def test_records_come_first(machine, shape) -> None:
    with (
        pytest.raises(TrainingError, match="BoltzmannMachine was given"),
        Recorder(machine).recording(BATCH),
    ):
        machine(torch.zeros(shape), torch.Generator())
