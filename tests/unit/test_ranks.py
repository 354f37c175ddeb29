# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Several processes train as one does: the same units, sums, noise and ε; and fail as one."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
import other_ranks
import pytest
import torch
from few_numbers import BUDGET, SEED, agreement_of, plan
from officers import open_real
from other_ranks import SIGMA, agree, others, trained, training_of
from scipy import stats
from torch import nn
from toy_task import ChosenGenerator, ToyTask, Training, receipt_for, records, settings_of, units_of

from fedcode.errors import ConfigError, PrivacyError, TrainingError
from fedcode.privacy.ledger import BudgetLedger
from fedcode.record import PrivacyUnit
from fedcode.rounds.member import Member
from fedcode.simulation.identities import key_of
from fedcode.training.assist import assist
from fedcode.training.ranks import Alone
from fedcode.training.shares import Order, Share
from fedcode.wire import RefusalCode, decode

EXAMPLE = Path(__file__).parents[2] / "examples/ranks/member.py"
FILE = PrivacyUnit.FILE
DATA = records([3, 9, 2, 30, 5, 14, 1, 8, 22])
WIDE = units_of([1, 4, 2, 7, 3])


def both(path, task, data, settings, **more):
    """What one process finds, and what several do."""
    return other_ranks.both(path, (task, task), data, settings, **more)


@pytest.mark.parametrize(
    ("clipping", "changes"),
    [
        ("flat", {}),
        ("flat", {"momentum": 0.8, "proximal": 0.3}),
        ("adaptive", {"optimizer": "adam", "quantile_rate": 0.5}),
        ("per-layer", {"optimizer": "adam-bc", "second_moment_floor": 1e-2}),
        ("normalized", {}),
    ],
)
def test_two_ranks_train_as_one_does(clipping, changes, tmp_path) -> None:
    settings = settings_of(
        clipping=clipping, clipping_norm=0.2, steps_per_round=4, nominal_batch=5,
        learning_rate=0.05, physical_batch=3, **changes,
    )  # fmt: skip
    alone, several = both(tmp_path, ToyTask(scale=3.0), DATA, settings, rounds=2)
    agree(alone, several)
    assert len(alone[0]) == 8
    assert any(np.linalg.norm(total) > 0 for _, total in alone[0])


@pytest.mark.parametrize("clipping", ["flat", "adaptive"])
def test_units_of_several_records_stay_whole(clipping, tmp_path) -> None:
    settings = settings_of(
        clipping=clipping, clipping_norm=0.2, steps_per_round=3, records_per_unit=3,
        nominal_batch=5, physical_batch=2,
    )  # fmt: skip
    agree(*both(tmp_path, ToyTask(scale=3.0), WIDE, settings, unit=FILE))


@pytest.mark.parametrize("chosen", [[], [4], [1, 4]])
def test_fewer_units_than_ranks_and_none_at_all(chosen, tmp_path) -> None:
    settings = settings_of(steps_per_round=2)
    alone, several = both(
        tmp_path, ToyTask(), DATA, settings, size=3, generator=lambda: ChosenGenerator(chosen)
    )
    agree(alone, several)
    assert [units for units, _ in several[0]] == [len(chosen)] * 2
    assert several[2].empty_steps == (0 if chosen else 2)
    assert several[1].any() == bool(chosen)


class SilentTask(ToyTask):
    """Many weights, and a loss that none of them changes."""

    def build(self):
        return nn.Sequential(nn.Embedding(8, 100), nn.Linear(100, 300))

    def losses(self, model, batch):
        return 0.0 * model(batch).sum((1, 2))


def plausibility(samples, std):
    return float(stats.kstest(samples, stats.norm(scale=std).cdf, method="asymp").pvalue)


def test_the_noise_is_one_ranks_exactly_and_has_its_scale(tmp_path) -> None:
    alone, several = both(tmp_path, SilentTask(), DATA, settings_of())
    np.testing.assert_array_equal(alone[1], several[1])
    assert plausibility(several[1], SIGMA) > 1e-3


def test_noise_on_every_rank_would_be_seen(tmp_path) -> None:
    mistake = other_ranks.noise_of_its_own
    with others(tmp_path, SilentTask(), DATA, settings_of(), mistake=mistake) as found:
        _, change, _, _ = trained(SilentTask(), DATA, settings_of(), ranks=found.ranks)
    assert len(change) > 30_000
    assert plausibility(change, SIGMA) < 1e-9
    assert plausibility(change, np.sqrt(2) * SIGMA) > 1e-3


def sum_of(path, data, **changes):
    settings = settings_of(**{"clipping_norm": 0.05, "physical_batch": 3} | changes)
    task = ToyTask(scale=100.0)
    with others(path, task, data, settings, unit=FILE) as found:
        steps, _, _, _ = trained(
            task, data, settings, unit=FILE, generator=ChosenGenerator(), ranks=found.ranks
        )
    return steps[0][1]


@pytest.mark.parametrize("clipping", ["flat", "adaptive"])
def test_a_unit_moves_the_sum_of_all_ranks_by_c_at_most(clipping, tmp_path) -> None:
    """Wherever it comes in: the others are dealt to other ranks then."""
    whole = sum_of(tmp_path, WIDE, clipping=clipping)
    moves = []
    for left in ("0", "3"):
        rest = [record for record in WIDE if record.author != left]
        moves.append(np.linalg.norm(whole - sum_of(tmp_path, rest, clipping=clipping)))
    assert max(moves) <= 0.05 * (1 + 1e-5)
    assert min(moves) > 0.5 * 0.05


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (other_ranks.draw_of_its_own, r"\d units were clipped, and \d were sampled"),
        (other_ranks.parts_of_units, r"\d units were clipped, and \d were sampled"),
    ],
)
def test_units_that_rank_0_did_not_draw_are_refused(mistake, message, tmp_path) -> None:
    settings = settings_of()
    with (
        others(tmp_path, ToyTask(), WIDE, settings, unit=FILE, mistake=mistake) as found,
        pytest.raises(PrivacyError, match=message),
    ):
        trained(
            ToyTask(), WIDE, settings, unit=FILE, generator=ChosenGenerator(), ranks=found.ranks
        )


# What fails.


def failed_round(path, mistake, timeout=20.0):
    """A round that a rank's mistake ends, and the next: errors, receipts, exit codes, seconds."""
    settings = settings_of(sampling_rate=1.0, physical_batch=9)  # else the mistake is met earlier
    with others(path, ToyTask(), DATA, settings, size=3, mistake=mistake, timeout=timeout) as found:
        training = training_of(ToyTask(), DATA, settings, found.ranks)
        receipts = [receipt_for(training.policy) for _ in range(2)]
        start, errors = time.monotonic(), []
        for receipt in receipts:
            with pytest.raises(TrainingError) as caught:
                training.change(receipt=receipt)
            errors.append(str(caught.value))
        took = time.monotonic() - start
    return errors, [receipt.used for receipt in receipts], found.exits, took


@pytest.mark.parametrize("mistake", [other_ranks.failing, other_ranks.dying])
def test_where_a_rank_fails_all_do_and_the_charge_is_spent(mistake, tmp_path) -> None:
    errors, used, exits, took = failed_round(tmp_path, mistake)
    assert used == [True, False], "the next round is refused before anything is computed"
    assert all("rank" in error and "source code" not in error for error in errors)
    assert all(exits)
    assert took < 5


def test_a_member_one_of_whose_ranks_fails_answers_so_and_has_paid(tmp_path) -> None:
    settings = settings_of(sampling_rate=1.0, physical_batch=9)  # else the mistake is met earlier
    mistake = other_ranks.failing
    with (
        others(tmp_path, ToyTask(), DATA, settings, mistake=mistake) as found,
        BudgetLedger.open(":memory:") as ledger,
    ):
        training = training_of(ToyTask(), DATA, settings, found.ranks)
        agreement = agreement_of(
            weights=training.size, training=settings, noise_multiplier=SIGMA, roster=("a",)
        )
        open_real(ledger, "code", epsilon=200.0)
        cost = BUDGET.cost(SIGMA, 1.0, 1)
        key = key_of(SEED, "a")
        member = Member("a", "code", agreement, cost, 10 * cost.nano, ledger, training.trainer, key)
        for number in (1, 2):
            asked = plan(agreement, number, weights=np.zeros(training.size, np.float32))
            answer = decode(member.answer(asked), weights=training.size, length=training.size)
            assert answer.code is RefusalCode.FAILED
            assert ledger.spent("code") == cost.nano, "once: the next round is given back"


def test_a_rank_that_does_not_answer_is_not_waited_for_without_end(tmp_path) -> None:
    errors, used, exits, took = failed_round(tmp_path, other_ranks.hanging, timeout=1.0)
    assert "did not answer in time" in errors[0]
    assert used == [True, False]
    assert all(exits)
    assert 0.9 < took < 30


def test_a_rank_that_is_gone_before_a_round_costs_nothing(tmp_path) -> None:
    mistake, settings = other_ranks.dying_between_rounds, settings_of()
    with others(tmp_path, ToyTask(), DATA, settings, mistake=mistake) as found:
        training = training_of(ToyTask(), DATA, settings, found.ranks)
        training.change()
        receipt = receipt_for(training.policy)
        with pytest.raises(TrainingError, match="has fallen out"):
            training.change(receipt=receipt)
    assert not receipt.used
    assert found.exits == [9]


def test_where_rank_0_fails_the_others_do(tmp_path) -> None:
    settings = settings_of()
    with others(tmp_path, ToyTask(), DATA, settings) as found:
        training = training_of(ToyTask(), DATA, settings, found.ranks)
        with (
            patch.object(Share, "_backward", side_effect=KeyboardInterrupt),
            pytest.raises(KeyboardInterrupt),
        ):
            training.change()
    assert found.exits == [1]


def test_where_rank_0_leaves_by_an_error_the_others_do_not_wait(tmp_path) -> None:
    left = []

    def leave():
        with others(tmp_path, ToyTask(), DATA, settings_of()) as found:
            left.append(found)
            training_of(ToyTask(), DATA, settings_of(), found.ranks)
            raise ValueError("left")

    with pytest.raises(ValueError, match="left"):
        leave()
    assert left[0].exits == [1]


def test_a_round_that_rank_0_cannot_release_does_not_end_the_training(tmp_path) -> None:
    settings = settings_of(learning_rate=1e38, clipping_norm=1e5)
    with others(tmp_path, ToyTask(scale=1e3), DATA, settings) as found:
        training = training_of(ToyTask(scale=1e3), DATA, settings, found.ranks)
        for _ in range(2):
            with pytest.raises(TrainingError, match="not finite"):
                training.change()
    assert found.exits == [0]


def test_ranks_with_other_records_are_refused_before_anything(tmp_path) -> None:
    settings = settings_of()
    with (
        others(tmp_path, ToyTask(), DATA[::-1], settings) as found,
        pytest.raises(ConfigError, match="do not have the same records") as caught,
    ):
        training_of(ToyTask(), DATA, settings, found.ranks)
    assert caught.value.hint
    assert found.exits == [1]


def test_weights_that_drift_apart_are_found(tmp_path) -> None:
    settings, mistake = settings_of(), other_ranks.weights_of_its_own
    with others(tmp_path, ToyTask(), DATA, settings, mistake=mistake) as found:
        training = training_of(ToyTask(), DATA, settings, found.ranks)
        with pytest.raises(TrainingError, match="did not have the same weights"):
            training.change()
    assert found.exits == [1]


# The program of a person.


def test_the_example_trains_under_torchrun() -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [*torchrun, "--nproc-per-node", "2", str(EXAMPLE)],
        capture_output=True, text=True, timeout=120, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "rank 1 on cpu assisted in 6 steps" in done.stdout or torch.cuda.is_available()
    losses = re.findall(r"round \d on 2 ranks: loss (\d\.\d\d)", done.stdout)
    assert len(losses) == 3


# The parts.


@pytest.mark.parametrize("level", [None, 0.37])
def test_an_order_arrives_as_it_was_given(level) -> None:
    drawn = [(3, np.array([0, 2, 5])), (7, np.array([], np.int64)), (9, np.array([1]))]
    for given in (drawn, []):
        order = Order.of(Order(given, level, last=not given).numbers())
        assert (order.level, order.last) == (level, not given)
        assert [(u, list(e)) for u, e in order.drawn] == [(u, list(e)) for u, e in given]


def test_rank_0_alone_cannot_assist() -> None:
    training = Training(ToyTask(), DATA, settings_of())
    with pytest.raises(ConfigError, match="rank 0 trains"):
        assist(ToyTask(), training.network, DATA, settings_of(), training.policy, Alone())
