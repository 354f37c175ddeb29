# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A member whose code lies in several sources: the account of each pays for every round."""

import dataclasses

import pytest
from few_numbers import (
    BUDGET,
    COST,
    FOUR,
    SEED,
    Federation,
    PullTrainer,
    agreement_of,
    plan,
    refusal,
)

from fedcode.errors import PrivacyError, TrainingError
from fedcode.privacy.accountant import Filter
from fedcode.rounds.member import Member
from fedcode.simulation.identities import key_of
from fedcode.wire import RefusalCode

ENOUGH = BUDGET.budget_nano


@pytest.fixture(params=["open", "secagg"])
def mode(request):
    return request.param


def states(federation, asset):
    return [(c.round, c.state) for c in federation.ledgers["b"].history(asset)]


def spent(federation):
    return [federation.ledgers["b"].spent(asset) for asset in ("code", "more", "most")]


def member_of(federation, asset, *others, cost=COST):
    """Another half of b's, on the same ledger."""
    old = federation.members["b"]
    rest = (old._agreement, cost, ENOUGH, old._ledger, old._trainer, key_of(SEED, "b"))
    return Member("b", asset, *rest, others=others, simulated=True)


def test_every_account_pays_for_every_round_and_one_update_leaves(mode) -> None:
    others = {"b": {"more": ENOUGH, "most": ENOUGH}}
    federation = Federation(agreement_of(roster=FOUR, mode=mode), others=others)
    _, outcomes = federation.run(2)
    assert [o.survivors for o in outcomes] == [FOUR] * 2
    for asset in ("code", "more", "most"):
        assert states(federation, asset) == [(1, "SENT"), (2, "SENT")]
    assert spent(federation) == [2 * COST.nano] * 3
    assert len(federation.trainers["b"].changes) == 2
    federation.ledgers["b"].verify()


def test_the_account_with_the_least_has_the_last_word(mode) -> None:
    others = {"b": {"more": COST.nano, "most": ENOUGH}}
    federation = Federation(agreement_of(roster=FOUR, mode=mode), others=others)
    _, outcomes = federation.run(3)
    assert [dict(o.refusals) for o in outcomes[1:2]] == [{"b": RefusalCode.BUDGET}]
    assert spent(federation) == [COST.nano] * 3
    assert len(federation.trainers["b"].changes) == 1


class FailingTrainer(PullTrainer):
    def train(self, weights, receipt):
        raise TrainingError("x")


def test_what_failed_before_it_was_computed_is_given_back_to_all(mode) -> None:
    federation = Federation(
        agreement_of(roster=FOUR, mode=mode),
        trainers={"b": FailingTrainer(0.0)},
        others={"b": {"more": ENOUGH, "most": ENOUGH}},
    )
    federation.run(1)
    assert spent(federation) == [0, 0, 0]
    for asset in ("code", "more", "most"):
        assert states(federation, asset) == [(1, "REFUNDED")]


def test_what_was_answered_is_sent_again_after_a_restart(tmp_path) -> None:
    others = {"b": {"more": ENOUGH, "most": ENOUGH}}
    federation = Federation(agreement_of(), folder=tmp_path, others=others)
    asked = plan(federation.agreement)
    first = federation.members["b"].answer(asked)
    federation.restart("b")
    assert federation.members["b"].answer(asked) == first
    assert spent(federation) == [COST.nano] * 3


def test_no_round_is_answered_again_with_some_of_the_accounts(mode) -> None:
    others = {"b": {"more": ENOUGH, "most": ENOUGH}}
    federation = Federation(agreement_of(mode=mode), others=others)
    federation.run(1)
    head = federation.ledgers["b"].head
    for assets in (("more",), ("most", "more"), ("more", "code", "most")):
        changed = member_of(federation, *assets)
        assert refusal(changed.answer(plan(federation.agreement))) == RefusalCode.PLAN
    assert federation.ledgers["b"].head == head
    assert spent(federation) == [COST.nano] * 3


def test_a_round_that_one_account_has_answered_is_not_answered_with_more(mode) -> None:
    others = {"b": {"more": ENOUGH, "most": ENOUGH}}
    federation = Federation(agreement_of(mode=mode), others=others)
    whole = federation.members["b"]
    federation.ways["b"] = member_of(federation, "most").answer
    federation.run(1)
    assert spent(federation) == [0, 0, COST.nano]
    assert refusal(whole.answer(plan(federation.agreement))) == RefusalCode.PLAN
    assert spent(federation) == [0, 0, COST.nano]


def test_accounts_of_other_orders_or_none_are_refused() -> None:
    federation = Federation(agreement_of(), others={"b": {"more": ENOUGH, "most": ENOUGH}})
    ledger = federation.ledgers["b"]
    other = Filter.for_budget(BUDGET.epsilon, BUDGET.delta, BUDGET.order + 1)
    ledger.open_simulated("other", organization="b", unit=ledger.account("code").unit, budget=other)
    with pytest.raises(PrivacyError, match="code and other are of different orders"):
        member_of(federation, "code", "other")
    with pytest.raises(PrivacyError, match="asset none has no account"):
        member_of(federation, "code", "more", "none")
    wide = dataclasses.replace(federation.agreement, unit="author")
    federation.members["b"]._agreement = wide
    with pytest.raises(PrivacyError, match="unit is author"):
        member_of(federation, "code", "more")


def test_a_member_has_no_keys_for_a_secure_sum_that_one_account_cannot_pay() -> None:
    others = {"b": {"more": 0, "most": ENOUGH}}
    federation = Federation(agreement_of(roster=FOUR, mode="secagg"), others=others)
    assert refusal(federation.members["b"].answer(plan(federation.agreement))) == RefusalCode.BUDGET
    assert spent(federation) == [0, 0, 0]
