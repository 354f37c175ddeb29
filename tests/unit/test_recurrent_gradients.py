# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Recurrent layers under the hooks of Opacus, against one backward pass for each record."""

import pytest
import torch
from opacus.grad_sample import GradSampleModule
from torch import nn
from torch.nn import functional

from fedcode.errors import TrainingError
from fedcode.models.recurrent import RecurrentLanguageModel
from fedcode.training.per_record.hooks import norms

# inputs are data and have no gradient: torch says so
pytestmark = [
    pytest.mark.filterwarnings("ignore:Full backward hook is firing"),
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN"),
]
V, PADDING, TOLERANCE = 13, 0, 1e-6


@pytest.fixture(autouse=True)
def _same_weights_every_time():
    torch.manual_seed(3)


@pytest.fixture(params=["gru", "lstm"])
def cell(request):
    return request.param


def pieces(lengths):
    """Random pieces, padded at the end: (batch, time)."""
    batch = torch.full((len(lengths), max(lengths)), PADDING)
    for row, length in zip(batch, lengths, strict=True):
        row[:length] = torch.randint(1, V, (length,))
    return batch


def losses(model, batch):
    """Summed cross-entropy per record, each piece predicted from those before it."""
    logits = model(functional.pad(batch, (1, 0))[:, :-1])
    each = functional.cross_entropy(
        logits.flatten(0, 1), batch.flatten(), reduction="none", ignore_index=PADDING
    )
    return each.view(batch.shape).sum(1)


def one_by_one(model, batch, losses):
    """The gradients of each record alone, by parameter, without hooks."""
    rows = []
    for i in range(len(batch)):
        model.zero_grad(set_to_none=True)
        losses(model, batch[i : i + 1]).sum().backward()
        rows.append({n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad})
    model.zero_grad(set_to_none=True)
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


def together(model, batch, losses):
    """The same by way of Opacus, for the whole batch at once."""
    hooked = GradSampleModule(model, loss_reduction="sum")
    losses(hooked, batch).sum().backward()
    found = {n: p.grad_sample for n, p in model.named_parameters() if p.requires_grad}
    assert not any(hasattr(p, "grad_sample") for p in model.parameters() if not p.requires_grad)
    hooked.remove_hooks()
    return found


@pytest.mark.parametrize("frozen", [False, True], ids=["tied", "embeddings frozen"])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("lengths", [[5], [7, 7, 7], [1, 9, 4, 2]], ids=str)
def test_the_language_model_has_the_gradients_of_a_loop(cell, layers, frozen, lengths) -> None:
    model = RecurrentLanguageModel(V, 6, 6, layers, cell, 0.0)
    model.embedding.weight.requires_grad_(not frozen)
    batch = pieces(lengths)
    expected = one_by_one(model, batch, losses)
    found = together(model, batch, losses)
    assert found.keys() == expected.keys()
    assert ("embedding.weight" in found) is not frozen
    for name, gradient in expected.items():
        assert gradient.abs().max() > 1e-4, f"{name} has no gradient to compare"
        assert found[name].shape == gradient.shape
        assert (found[name] - gradient).abs().max() <= TOLERANCE, name


def of_all_outputs(model, batch):
    outputs = model(batch)[0]
    weights = torch.linspace(-1, 2, outputs.shape[-1], dtype=outputs.dtype)
    return (outputs * weights).square().sum((1, 2))


def layer(cell, **changes):
    kind = nn.GRU if cell == "gru" else nn.LSTM
    return kind(3, 5, **{"batch_first": True} | changes)


def test_a_layer_that_reads_numbers_of_another_width(cell) -> None:
    model, batch = layer(cell), torch.randn(4, 11, 3)
    expected = one_by_one(model, batch, of_all_outputs)
    found = together(model, batch, of_all_outputs)
    for name, gradient in expected.items():
        assert (found[name] - gradient).abs().max() <= TOLERANCE * gradient.abs().max(), name


def test_long_records_lose_no_precision(cell) -> None:
    model, batch = layer(cell).double(), torch.randn(2, 200, 3, dtype=torch.float64)
    expected = one_by_one(model, batch, of_all_outputs)
    found = together(model, batch, of_all_outputs)
    for name, gradient in expected.items():
        assert (found[name] - gradient).abs().max() <= 1e-12 * gradient.abs().max(), name


def test_only_weights_that_are_trained_have_gradients(cell) -> None:
    model, batch = layer(cell), torch.randn(2, 4, 3)
    model.weight_hh_l0.requires_grad_(False)
    model.bias_ih_l0.requires_grad_(False)
    assert together(model, batch, of_all_outputs).keys() == {"weight_ih_l0", "bias_hh_l0"}
    assert model.weight_hh_l0.grad is None


@pytest.mark.parametrize(
    "changes",
    [{"bidirectional": True}, {"num_layers": 2}, {"bias": False}],
    ids=str,
)
def test_layers_of_other_shapes(cell, changes) -> None:
    model, batch = layer(cell, **changes), torch.randn(4, 7, 3)
    expected = one_by_one(model, batch, of_all_outputs)
    found = together(model, batch, of_all_outputs)
    for name, gradient in expected.items():
        assert (found[name] - gradient).abs().max() <= TOLERANCE * gradient.abs().max(), name


def test_norms_alone(cell) -> None:
    """As the mode ``ghost`` asks for them."""
    model, batch = layer(cell), torch.randn(4, 7, 3)
    expected = one_by_one(model, batch, of_all_outputs)
    outputs = model(batch)[0].detach().requires_grad_()
    weights = torch.linspace(-1, 2, outputs.shape[-1])
    (outputs * weights).square().sum().backward()
    found = norms(model, [batch], outputs.grad)
    for name, parameter in model.named_parameters():
        exact = expected[name].flatten(1).norm(dim=1)
        torch.testing.assert_close(found[parameter], exact, rtol=1e-4, atol=0)


def test_a_projected_lstm_is_refused() -> None:
    hooked = GradSampleModule(layer("lstm", proj_size=2), loss_reduction="sum")
    total = hooked(torch.randn(2, 4, 3))[0].sum()
    with pytest.raises(TrainingError, match="no per-record gradients"):
        total.backward()


def test_a_state_to_start_from_is_refused(cell) -> None:
    hooked = GradSampleModule(layer(cell), loss_reduction="sum")
    state = torch.randn(1, 2, 5)
    # Opacus itself does not know what to do with an LSTM's pair of states
    with pytest.raises(TrainingError if cell == "gru" else AttributeError):
        hooked(torch.randn(2, 4, 3), state if cell == "gru" else (state, state))[0].sum().backward()
