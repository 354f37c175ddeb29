# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Per-record gradients the slow way, and what the recorder makes of the same batch."""

import copy

import torch

from fedcode.training.per_record import outer, tape
from fedcode.training.per_record.recorder import Recorder

TOLERANCE = 1e-5
FORMS = ["gram", "written out", "by cost"]


def in_form(monkeypatch, form):
    """Norms by Gram matrices, by gradients written out, or by whichever costs less."""
    if form != "by cost":
        monkeypatch.setattr(tape, "prefers_gram", lambda *_: form == "gram")
    monkeypatch.setattr(outer, "rounding", lambda *_: 0.0)


def naive(model, losses, batch):
    """Each record's gradients by a backward pass of its own in float64: (batch, *shape) each.

    ``losses(model, i)`` gives the losses of the records of the slice ``i``.
    """
    exact = copy.deepcopy(model).double()
    parameters = [p for p in exact.parameters() if p.requires_grad]
    rows = []
    for i in range(batch):
        loss = losses(exact, slice(i, i + 1)).sum()
        rows.append(
            torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
        )
    return [torch.stack(column) for column in zip(*rows, strict=True)]


def recorded(model, losses, batch, keep="norms", **options):
    """The tape of the whole batch, and its recorder."""
    recorder = Recorder(model, **options)
    with recorder.recording(batch, keep) as found:
        losses(model, slice(0, batch)).sum().backward()
    assert all(p.grad is None and p.requires_grad for p in recorder.parameters)
    return found, recorder


def check(model, losses, batch, *, nothing=(), of_whole=False, tolerance=TOLERANCE, **options):
    """Norms, weighted sums, gradients by owner and plain sums are those of the loop.

    ``nothing`` names the parameters of which no record learns anything; None for any. Errors are
    relative to what they are errors of, or to the gradients of all weights and records: in float32
    a weight's own may cancel out.
    """
    expected = naive(model, losses, batch)
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    without = [n for n, g in zip(names, expected, strict=True) if not g.any()]
    assert nothing is None or without == list(nothing)
    whole = torch.stack([exact.norm() for exact in expected]).norm() if of_whole else None

    def close(found, exact, what):
        scale = (exact.norm() if whole is None else whole).clamp(min=1e-9)
        error = float((found.double() - exact).norm() / scale)
        assert error <= tolerance, f"{what}: {error:.1e}"

    found, recorder = recorded(model, losses, batch, **options)
    factors = torch.linspace(0.1, 1.3, batch)
    for name, square, total, exact in zip(
        names, found.squares(), found.sums(factors), expected, strict=True
    ):
        close(square.sqrt(), exact.flatten(1).norm(dim=1), f"norms of {name}")
        close(total, torch.einsum("i,i...", factors.double(), exact), f"sum of {name}")
    plain, _ = recorded(model, losses, batch, "sums", **options)
    for name, total, exact in zip(names, plain.sums(), expected, strict=True):
        close(total, exact.sum(0), f"plain sum of {name}")
    owners = torch.arange(batch) % max(1, batch - 1)
    totals = [torch.zeros(max(1, batch - 1), *p.shape) for p in recorder.parameters]
    recorded(model, losses, batch, "samples", **options)[0].gather(owners, totals)
    for name, total, exact in zip(names, totals, expected, strict=True):
        wanted = torch.zeros_like(exact[: len(total)]).index_add_(0, owners, exact)
        close(total, wanted, f"gradients of {name}")
