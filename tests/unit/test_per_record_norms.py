# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Norms of crafted gradients: float32 may lose much of them, and none may come out too small."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from fedcode.training.per_record.outer import Dense, Outer, Samples, squared_norms
from fedcode.training.per_record.recorder import Recorder


@pytest.mark.parametrize(
    ("shape", "places"), [((1, 256), 64), ((1, 64, 256), 8)], ids=["one place", "Gram"]
)
def test_squares_that_float32_does_not_hold_are_counted(shape, places) -> None:
    # activations of 1e18 times gradients of 2e-23, whose squares are 0
    network = nn.Sequential(nn.Linear(256, 256, bias=False), nn.Linear(256, 1, bias=False))
    with torch.no_grad():
        network[0].weight.fill_(1e-30)
        network[1].weight.fill_(2e-23)
    recorder = Recorder(network, places=places)
    with recorder.recording(1) as tape:
        network(torch.full(shape, 1e18)).sum().backward()
    counted = float(tape.squares()[0].sqrt())
    added = float(tape.sums(torch.ones(1))[0].double().norm())
    assert added > 1e-3
    assert counted >= added


@pytest.mark.parametrize("width", [1 << 13, 1 << 15])
@pytest.mark.parametrize("places", [2, 8, 64])
def test_what_is_lost_of_long_vectors_is_charged(width, places) -> None:
    # beside a 1, half of the numbers' squares are lost and the others' are rounded up; what pulls
    # one way is taken off what pulls the other
    one, other = (torch.full((width,), 2.0**-12 * (1 + by)) for by in (-0.002, 0.006))
    one[0] = other[0] = 1
    right = torch.stack([one, other]).repeat(places // 2, 1)[None]
    left = torch.tensor([1.0, -1.0]).repeat(places // 2)[None, :, None]
    extra = torch.zeros_like(right)
    for size in torch.logspace(-4, 0, 40):
        extra[:, ::2, 1] = size * 0.01
        part = Outer(Dense(left), Dense(right + extra))
        exact = torch.bmm(left.double().transpose(1, 2), (right + extra).double())
        assert float(squared_norms([part])) >= float(exact.square().sum()) * (1 - 1e-6)


def test_a_long_row_is_as_long_as_it_is() -> None:
    row = torch.full((1, 1 << 22), 2.0**-12 * 0.999)  # each square is lost beside a 1
    row[0, 0] = 1
    exact = float(row.double().square().sum())
    assert float(Samples(row).squared_norms()) == pytest.approx(exact, rel=1e-5)
    odd = row[:, :777]
    exact = float(odd.double().square().sum())
    assert float(Samples(odd).squared_norms()) == pytest.approx(exact, rel=1e-5)


def test_gradients_that_cancel_are_counted_alike_whatever_the_batch_is_padded_to() -> None:
    """Else one long record would change, all in one direction, how the others are clipped."""
    torch.manual_seed(5)
    half, more = 32, 7
    x, g = torch.randn(32, half, 256), torch.randn(32, half, 192)
    x = torch.cat([x, x + 0.003 * torch.randn_like(x)], 1)
    g = torch.cat([g, -g + 0.003 * torch.randn_like(g)], 1)
    padded = [F.pad(side, (0, 0, 0, more)) for side in (x, g)]
    one = squared_norms([Outer(Dense(g), Dense(x))]).sqrt()
    two = squared_norms([Outer(Dense(padded[1]), Dense(padded[0]))]).sqrt()
    lengths = (x.norm(dim=2) * g.norm(dim=2)).sum(1)
    assert (lengths > 100 * one).all(), "nothing cancels here: the test proves nothing"
    assert ((one - two).abs() / one).max() < 1e-6
