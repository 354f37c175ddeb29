# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Random networks: what is recorded of every record is what a loop over the records finds."""

from contextlib import contextmanager
from dataclasses import dataclass

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import Phase, find, given, settings
from hypothesis.errors import NoSuchExample
from one_by_one import FORMS, check, in_form
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from fedcode.models.vocabulary import TokenLosses
from fedcode.training.per_record import outer, recurrent, rules, tape, vocabulary

BATCH, TIME, WIDTH, VOCABULARY = 3, 6, 4, 9
_EPS = 0.01  # padding is zeros: a norm that blows them up is beyond float32, in any program
enough = settings(deadline=None, derandomize=True, max_examples=100, database=None)


@dataclass(frozen=True)
class Inputs:
    """What a block may look at: its input, the tokens it came from, and the records' lengths."""

    x: torch.Tensor
    tokens: torch.Tensor
    lengths: torch.Tensor


class Dense(nn.Module):
    def __init__(self, bias):
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH, bias=bias)

    def forward(self, given):
        return self.layer(given.x)


class Perceptron(nn.Module):
    """Its inner activation works in place; the second layer also reads the two halves apart."""

    def __init__(self, apart):
        super().__init__()
        self.inner, self.outer = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)
        self.apart = apart

    def forward(self, given):
        y = F.silu(self.inner(given.x), inplace=True)
        if not self.apart:
            return self.outer(y)
        halves = [self.outer(part.unflatten(1, (1, -1))).flatten(1, 2) for part in y.chunk(2, 1)]
        return torch.cat(halves, 1)


class Norm(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.layer = {
            "layer": lambda: nn.LayerNorm(WIDTH, eps=_EPS),
            "rms": lambda: nn.RMSNorm(WIDTH, eps=_EPS),
            "places": lambda: nn.LayerNorm((TIME, WIDTH), eps=_EPS, bias=False),
            "group": lambda: nn.GroupNorm(2, WIDTH, eps=_EPS),
        }[kind]()
        self.kind = kind

    def forward(self, given):
        if self.kind == "group":
            return self.layer(given.x.transpose(1, 2)).transpose(1, 2)
        return self.layer(given.x)


class Convolution(nn.Module):
    def __init__(self, dimensions, groups, mode):
        super().__init__()
        options = {"padding": 1, "padding_mode": mode, "groups": groups}
        self.layer = (nn.Conv1d if dimensions == 1 else nn.Conv2d)(WIDTH, WIDTH, 3, **options)

    def forward(self, given):
        x = given.x.transpose(1, 2)
        if isinstance(self.layer, nn.Conv1d):
            return self.layer(x).transpose(1, 2)
        return self.layer(x.unflatten(2, (2, -1))).flatten(2).transpose(1, 2)


class Recurrent(nn.Module):
    def __init__(self, cell, layers, both, bias, packed):
        super().__init__()
        self.layer = cell(
            WIDTH,
            WIDTH // 2 if both else WIDTH,
            num_layers=layers,
            bidirectional=both,
            bias=bias,
            batch_first=True,
        )
        self.packed = packed

    def forward(self, given):
        if not self.packed:
            y, state = self.layer(given.x)
        else:
            y, state = self.layer(
                pack_padded_sequence(given.x, given.lengths, batch_first=True, enforce_sorted=False)
            )
            y, _ = pad_packed_sequence(y, batch_first=True, total_length=TIME)
        last = state if isinstance(state, torch.Tensor) else sum(state)
        return y + last.sum((0, 2)).view(-1, 1, 1) / 4


class Attention(nn.Module):
    def __init__(self, causal):
        super().__init__()
        self.inner, self.outer = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.causal = causal

    def forward(self, given):
        heads = self.inner(given.x).unflatten(2, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        inside = torch.arange(TIME) < given.lengths.unsqueeze(1)
        seen = inside.view(-1, 1, 1, TIME)
        if self.causal:
            seen = seen & torch.ones(TIME, TIME, dtype=torch.bool).tril()
        mixed = F.scaled_dot_product_attention(*heads, attn_mask=seen)
        return self.outer(mixed.transpose(1, 2).flatten(2))


class Bag(nn.Module):
    def __init__(self, mode, padding):
        super().__init__()
        self.layer = nn.EmbeddingBag(VOCABULARY, WIDTH, mode=mode, padding_idx=padding)

    def forward(self, given):
        return given.x + self.layer(given.tokens).unsqueeze(1)


class Adapted(nn.Module):
    """A frozen layer with a low-rank adapter."""

    def __init__(self):
        super().__init__()
        self.base = nn.Linear(WIDTH, WIDTH).requires_grad_(False)
        self.down = nn.Linear(WIDTH, 2, bias=False)
        self.up = nn.Linear(2, WIDTH, bias=False)

    def forward(self, given):
        return self.base(given.x) + self.up(self.down(given.x))


class Positions(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Embedding(TIME, WIDTH)

    def forward(self, given):
        return given.x + self.layer(torch.arange(TIME).unsqueeze(0))


FLAGS = st.booleans()
BLOCKS = st.one_of(
    st.tuples(st.just(Dense), FLAGS),
    st.tuples(st.just(Perceptron), FLAGS),
    st.tuples(st.just(Norm), st.sampled_from(["layer", "rms", "places", "group"])),
    st.tuples(
        st.just(Convolution),
        st.sampled_from([1, 2]),
        st.sampled_from([1, 2]),
        st.sampled_from(["zeros", "circular"]),
    ),
    st.tuples(st.just(Recurrent), st.just(nn.GRU), st.integers(1, 2), *[FLAGS] * 3),
    st.tuples(st.just(Recurrent), st.just(nn.LSTM), st.integers(1, 2), *[FLAGS] * 3),
    st.tuples(st.just(Attention), FLAGS),
    st.tuples(st.just(Bag), st.sampled_from(["sum", "mean"]), st.sampled_from([None, 0])),
    st.tuples(st.just(Adapted)),
    st.tuples(st.just(Positions)),
)


@dataclass(frozen=True)
class Plan:
    """How a network is made.

    Attributes:
        blocks: kinds of block and what they are made with.
        order: which block follows which; one may be used several times, or never.
        padding: the embedding's.
        head: losses of tokens, by an output that is tied to the embedding or not; or numbers.
        bias: whether the output has one.
        frozen: which of the parameters, counted around, are not trained.
        lengths: of the records.
        in_pieces: whether panels, chunks of logits and pieces of gradients are small.
        seed: of all numbers.
    """

    blocks: tuple
    order: tuple
    padding: int | None
    head: str
    bias: bool
    frozen: frozenset
    lengths: tuple
    in_pieces: bool
    seed: int


@st.composite
def plans(draw):
    blocks = draw(st.lists(BLOCKS, min_size=1, max_size=4))
    order = st.lists(st.integers(0, len(blocks) - 1), min_size=1, max_size=5)
    return Plan(
        tuple(blocks),
        tuple(draw(order)),
        draw(st.sampled_from([None, 0])),
        draw(st.sampled_from(["tied", "untied", "numbers"])),
        draw(FLAGS),
        draw(st.frozensets(st.integers(0, 11), max_size=4)),
        tuple(draw(st.lists(st.integers(2, TIME), min_size=BATCH, max_size=BATCH))),
        draw(FLAGS),
        draw(st.integers(0, 99)),
    )


class Stack(nn.Module):
    """Blocks one after another: each adds to what entered it."""

    def __init__(self, plan):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH, padding_idx=plan.padding)
        self.blocks = nn.ModuleList(kind(*options) for kind, *options in plan.blocks)
        self.order = plan.order
        self.output = nn.Linear(WIDTH, VOCABULARY, bias=plan.bias)
        if plan.head == "tied":
            self.output.weight = self.embedding.weight
        self.losses = TokenLosses(self.output, ignored=0) if plan.head != "numbers" else None
        for number, parameter in enumerate(self.parameters()):
            nn.init.normal_(parameter, std=0.5)
            parameter.requires_grad_(parameter.requires_grad and number % 12 not in plan.frozen)

    def forward(self, tokens, targets, lengths):
        x = self.embedding(tokens)
        for number in self.order:
            x = (x + torch.tanh(self.blocks[number](Inputs(x, tokens, lengths)))) / 2
        if self.losses is not None:
            return self.losses(x, targets).sum(1) / TIME
        y = self.output(x).flatten(1)
        return (y * torch.linspace(-1, 2, y.shape[1], dtype=y.dtype)).square().mean(1)


def holds(plan, dtype=torch.float64):
    """Fails unless the recorder and the loop agree on the network of ``plan``.

    In float64, each weight's gradients by themselves; in float32, beside all weights' together.
    """
    how = {"tolerance": 1e-9} if dtype is torch.float64 else {"of_whole": True}
    with computing_in(dtype), pytest.MonkeyPatch.context() as patch:
        if plan.in_pieces:  # small networks go the ways of large ones
            patch.setattr(outer, "_LONG", 4)
            patch.setattr(tape, "_PIECE", 64)
            patch.setattr(vocabulary, "_TOGETHER", TIME)
        torch.manual_seed(plan.seed)
        model = Stack(plan)
        lengths = torch.tensor(plan.lengths)
        outside = torch.arange(TIME) >= lengths.unsqueeze(1)
        tokens, targets = torch.randint(1, VOCABULARY, (2, BATCH, TIME)).masked_fill(outside, 0)
        if model(tokens, targets, lengths).requires_grad:
            check(
                model,
                lambda m, i: m(tokens[i], targets[i], lengths[i]),
                BATCH,
                nothing=None,
                **how,
            )


@contextmanager
def computing_in(dtype):
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_random_stacks(form, dtype, monkeypatch) -> None:
    in_form(monkeypatch, form)
    enough(given(plans())(lambda plan: holds(plan, dtype)))()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_many_random_stacks(form, dtype, monkeypatch) -> None:
    in_form(monkeypatch, form)
    settings(enough, max_examples=2_000)(given(plans())(lambda plan: holds(plan, dtype)))()


def _no_cross_terms(patch):
    patch.setattr(outer, "combinations", lambda *_: ())


def _only_the_last_use(patch):
    def written_out(self, parameter):
        for records in self._pieces(parameter):
            yield self._parts[parameter][-1].samples(records).view(-1, *parameter.shape)

    patch.setattr(tape.Tape, "_written_out", written_out)


def _no_bias(patch):
    for module in (rules, recurrent):
        patch.setattr(module, "ones", lambda left: outer.Dense(left.values[..., :1] * 0))


def _one_bias_for_both(patch):
    """A GRU's two biases differ in the new gate: the reset gate stands before one of them."""
    right = recurrent._note

    def note(tape, weights, gates, entered, before, gru):
        same = recurrent.Gates(gates.from_input, gates.from_input) if gru else gates
        right(tape, weights, same, entered, before, gru)

    patch.setattr(recurrent, "_note", note)


def _padding_is_a_token(patch):
    patch.setattr(rules, "_rows", lambda index, layer: outer.Rows(index, layer.num_embeddings))


def _counts_not_squared(patch):
    """A token that a bag holds twice counts 1 + 1, not 2²."""

    def squared_norms(self):
        weights = self.weights.masked_fill(self.index < 0, 0)
        return self.gradient.square().sum(1) * weights.square().sum(1)

    patch.setattr(outer.Bag, "squared_norms", squared_norms)


def _loss_of_a_mean(patch):
    """As a mean over the batch's tokens would: a record's gradient depends on the others."""
    right = vocabulary._cross_entropy

    def cross_entropy(logits, targets, ignored):
        losses = right(logits, targets, ignored)
        logits.div_((targets != ignored).sum())
        return losses

    patch.setattr(vocabulary, "_cross_entropy", cross_entropy)


@pytest.mark.parametrize(
    ("mutant", "form"),
    [
        (_no_cross_terms, "gram"),
        (_only_the_last_use, "written out"),
        (_no_bias, "by cost"),
        (_one_bias_for_both, "by cost"),
        (_padding_is_a_token, "by cost"),
        (_counts_not_squared, "by cost"),
        (_loss_of_a_mean, "by cost"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_rule_that_is_wrong_is_found(mutant, form, monkeypatch) -> None:
    in_form(monkeypatch, form)
    mutant(monkeypatch)
    enough_to_find = settings(enough, phases=[Phase.generate], max_examples=400)
    find(plans(), _fails, settings=enough_to_find)


def test_rules_that_are_right_are_not(monkeypatch) -> None:
    in_form(monkeypatch, "by cost")
    with pytest.raises(NoSuchExample):
        find(plans(), _fails, settings=settings(enough, max_examples=20))


def _fails(plan):
    try:
        holds(plan)
    except AssertionError:
        return True
    return False
