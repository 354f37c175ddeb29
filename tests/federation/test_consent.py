# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Who takes part in a round and who does not: consent, budgets, failures, and strange answers."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from few_numbers import COST, ROUNDS, START, WEIGHTS, Federation, PullTrainer, agreement_of, plan

from fedcode.errors import LedgerDamaged, PrivacyError, TrainingError, WireError
from fedcode.federation import TrainingSettings
from fedcode.rounds.coordinator import Coordinator
from fedcode.rounds.member import Member
from fedcode.transport.flower import member_app
from fedcode.transport.in_memory import InMemoryGrid
from fedcode.wire import Refusal, RefusalCode, decode, encode
from fedcode.wire.messages import ReceivedUpdate

# Members that do not take part.


def test_a_member_without_budget_refuses_and_the_others_go_on() -> None:
    federation = Federation(agreement_of(), budgets={"b": 2 * COST.nano})
    states, outcomes = federation.run(4)
    assert [o.survivors for o in outcomes] == [("a", "b", "c")] * 2 + [("a", "c")] * 2
    assert [dict(o.refusals) for o in outcomes[2:]] == [{"b": RefusalCode.BUDGET}] * 2
    assert len(federation.trainers["b"].changes) == 2
    assert federation.ledgers["b"].spent("code") == 2 * COST.nano
    changes = [federation.trainers[n].changes[3] for n in ("a", "c")]
    expected = states[2].weights + np.mean(changes, axis=0)
    np.testing.assert_allclose(states[3].weights, expected, atol=1e-6)


def test_the_account_has_the_last_word_over_the_allowance() -> None:
    federation = Federation(agreement_of(), budgets={"b": COST.nano})
    federation.members["b"]._allowance = 10**12
    _, outcomes = federation.run(2)
    assert outcomes[1].refusals == {"b": RefusalCode.BUDGET}
    assert federation.ledgers["b"].spent("code") == COST.nano


def test_an_allowance_holds_though_the_account_has_more() -> None:
    federation = Federation(agreement_of())
    member, ledger = federation.members["a"], federation.ledgers["a"]
    member._allowance = COST.nano
    ledger.charge(COST, asset="code", agreement="f" * 64, purpose="research", task="other", round=1)
    _, outcomes = federation.run(2)
    assert [dict(o.refusals) for o in outcomes] == [{}, {"a": RefusalCode.BUDGET}]


SECRET = "def proprietary(): return 31337"


class FailingTrainer(PullTrainer):
    def __init__(self, error):
        super().__init__(0.0)
        self.error = error

    def train(self, weights, receipt):
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        TrainingError(f"the loss of {SECRET} is not finite"),
        ValueError(SECRET),
        MemoryError(SECRET),
        PrivacyError(SECRET),
        LedgerDamaged(SECRET),
    ],
    ids=lambda e: type(e).__name__,
)
def test_a_member_that_fails_says_a_code_and_no_text(error) -> None:
    federation = Federation(agreement_of(), trainers={"b": FailingTrainer(error)})
    answer = federation.members["b"].answer(plan(federation.agreement))
    assert decode(answer, weights=WEIGHTS) == Refusal(
        federation.agreement.digest(), 1, "b", RefusalCode.FAILED
    )
    assert b"proprietary" not in answer
    assert federation.members["b"].error is error
    _, outcomes = federation.run(2)
    assert [dict(o.refusals) for o in outcomes] == [{"b": RefusalCode.FAILED}] * 2
    assert [o.survivors for o in outcomes] == [("a", "c")] * 2


class LateTrainer(PullTrainer):
    """Fails when it has computed already."""

    def train(self, weights, receipt):
        super().train(weights, receipt)
        raise TrainingError("x")


def states(federation, name):
    return [(c.round, c.state, c.cost_nano) for c in federation.ledgers[name].history("code")]


def test_a_round_that_fails_is_paid_all_the_same() -> None:
    federation = Federation(agreement_of(), trainers={"b": LateTrainer(0.0)})
    federation.run(2)
    assert states(federation, "b") == [(1, "RESERVED", COST.nano), (2, "RESERVED", COST.nano)]
    assert federation.ledgers["b"].spent("code") == 2 * COST.nano
    assert [state for _, state, _ in states(federation, "a")] == ["SENT", "SENT"]


def test_a_round_that_fails_before_anything_is_computed_is_given_back() -> None:
    federation = Federation(agreement_of(), trainers={"b": FailingTrainer(TrainingError("x"))})
    federation.run(2)
    assert states(federation, "b") == [(1, "REFUNDED", COST.nano), (2, "REFUNDED", COST.nano)]
    assert federation.ledgers["b"].spent("code") == 0


# What the officers have signed.


@pytest.mark.parametrize("changes", [{"purpose": "sale"}, {"task": "other"}])
def test_what_the_policy_does_not_permit_is_refused_and_costs_nothing(changes) -> None:
    trainers = {name: PullTrainer(1.0, generator=None) for name in "abc"}
    federation = Federation(agreement_of(**changes), seeded=False, trainers=trainers)
    member, ledger = federation.members["a"], federation.ledgers["a"]
    answer = member.answer(plan(federation.agreement))
    assert decode(answer, weights=WEIGHTS).code == RefusalCode.POLICY
    assert ledger.spent("code") == 0
    assert not trainers["a"].changes
    permitted = Federation(agreement_of(), seeded=False, trainers=trainers).members["a"]
    assert isinstance(
        decode(permitted.answer(plan(agreement_of())), weights=WEIGHTS), ReceivedUpdate
    )


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"unit": "author"}, "unit is author in the agreement, and function here"),
        ({"delta": 1e-6}, "delta is 1e-06"),
        ({"noise_multiplier": 50.0}, "noise_multiplier is 50.0"),
        ({"training": TrainingSettings(sampling_rate=0.01)}, "sampling_rate is 0.01"),
        ({"training": TrainingSettings(sampling_rate=0.5, steps_per_round=2)}, "steps is 2"),
    ],
)
def test_a_member_whose_account_or_cost_is_not_what_was_agreed_on_is_refused(changes, what) -> None:
    with pytest.raises(PrivacyError, match=what):
        Federation(agreement_of(**changes))


def test_a_simulations_account_is_for_simulations() -> None:
    federation = Federation(agreement_of())
    member = federation.members["a"]
    with pytest.raises(PrivacyError, match="no account of the kind"):
        Member("a", "code", member._agreement, COST, 10, member._ledger, member._trainer)


def test_many_who_ask_the_same_at_once_get_the_same_and_one_round_is_paid() -> None:
    federation = Federation(agreement_of())
    member, asked = federation.members["a"], plan(federation.agreement)
    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(member.answer, [asked] * 32))
    assert len(answers) == 1
    assert federation.ledgers["a"].spent("code") == COST.nano
    assert [c.state for c in federation.ledgers["a"].history("code")] == ["SENT"]


def test_an_answer_that_was_kept_and_not_sent_is_sent_when_it_is_asked_for_again(
    monkeypatch,
) -> None:
    federation = Federation(agreement_of())
    member, ledger = federation.members["a"], federation.ledgers["a"]
    with monkeypatch.context() as patch:
        patch.setattr(type(ledger), "sent", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            member.answer(plan(federation.agreement))
    assert [c.state for c in ledger.history("code")] == ["ARMED"]
    assert isinstance(
        decode(member.answer(plan(federation.agreement)), weights=WEIGHTS), ReceivedUpdate
    )
    assert [c.state for c in ledger.history("code")] == ["SENT"]


# A round is answered once.


def test_the_same_plan_again_gets_the_same_bytes_and_costs_nothing() -> None:
    federation = Federation(agreement_of())
    member, ledger = federation.members["a"], federation.ledgers["a"]
    asked = plan(federation.agreement)
    first = member.answer(asked)
    head = ledger.head
    assert member.answer(asked) == first
    assert (ledger.head, ledger.spent("code")) == (head, COST.nano)
    assert len(federation.trainers["a"].changes) == 1


def test_another_plan_for_an_answered_round_is_refused() -> None:
    federation = Federation(agreement_of())
    member, ledger = federation.members["a"], federation.ledgers["a"]
    member.answer(plan(federation.agreement))
    for other in (
        plan(federation.agreement, weights=START + 1),
        plan(federation.agreement, cohort=("a", "b")),
    ):
        assert decode(member.answer(other), weights=WEIGHTS).code == RefusalCode.PLAN
    assert ledger.spent("code") == COST.nano


def test_an_earlier_round_is_over_when_a_later_one_was_answered() -> None:
    federation = Federation(agreement_of())
    member = federation.members["a"]
    first = plan(federation.agreement)
    member.answer(first)
    member.answer(plan(federation.agreement, number=2))
    assert decode(member.answer(first), weights=WEIGHTS).code == RefusalCode.PLAN
    assert federation.ledgers["a"].spent("code") == 2 * COST.nano


def test_a_stop_by_a_person_is_no_refusal() -> None:
    federation = Federation(agreement_of(), trainers={"b": FailingTrainer(KeyboardInterrupt())})
    with pytest.raises(KeyboardInterrupt):
        federation.run(1)


def test_the_ledger_is_charged_before_training_starts() -> None:
    federation = Federation(agreement_of())
    ledger, seen = federation.ledgers["a"], []

    class Looking(PullTrainer):
        def train(self, weights, receipt):
            seen.append((ledger.spent("code"), [c.state for c in ledger.history("code")]))
            return super().train(weights, receipt)

    federation.members["a"]._trainer = Looking(0.0)
    federation.run(1)
    assert seen == [(COST.nano, ["RESERVED"])]


def test_every_round_is_charged_once_for_its_agreement() -> None:
    federation = Federation(agreement_of())
    federation.run()
    for ledger in federation.ledgers.values():
        history = ledger.history("code")
        assert [c.round for c in history] == list(range(1, ROUNDS + 1))
        assert {c.agreement for c in history} == {federation.agreement.digest()}
        assert ledger.spent("code", federation.agreement.digest()) == ROUNDS * COST.nano


# Plans that are not what was agreed on.


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda a: plan(dataclasses.replace(a, noise_multiplier=0.5)), RefusalCode.AGREEMENT),
        (lambda a: plan(dataclasses.replace(a, purpose="other")), RefusalCode.AGREEMENT),
        (lambda a: plan(a, cohort=("a", "b", "stranger")), RefusalCode.PLAN),
        (lambda a: plan(a, cohort=("b", "c")), RefusalCode.PLAN),
        (lambda a: plan(a, number=ROUNDS + 1), RefusalCode.PLAN),
        (lambda a: plan(a, weights=np.zeros(WEIGHTS + 1, np.float32)), RefusalCode.PLAN),
        (lambda a: plan(a)[:-1], RefusalCode.PLAN),
        (lambda a: b"", RefusalCode.PLAN),
        (lambda a: encode(Refusal(a.digest(), 1, "a", RefusalCode.FAILED)), RefusalCode.PLAN),
    ],
    ids=[
        "noise",
        "purpose",
        "stranger",
        "not asked",
        "late",
        "weights",
        "short",
        "empty",
        "no plan",
    ],
)
def test_another_plan_is_refused_and_costs_nothing(make, code) -> None:
    federation = Federation(agreement_of())
    member, ledger = federation.members["a"], federation.ledgers["a"]
    head = ledger.head
    answer = decode(member.answer(make(federation.agreement)), weights=WEIGHTS)
    assert (type(answer), answer.code, answer.member) == (Refusal, code, "a")
    assert ledger.head == head
    assert ledger.spent("code") == 0
    assert not federation.trainers["a"].changes


def test_a_cohort_of_some_members_is_accepted() -> None:
    federation = Federation(agreement_of())
    answer = decode(
        federation.members["a"].answer(plan(federation.agreement, cohort=("a", "c"))),
        weights=WEIGHTS,
    )
    assert not isinstance(answer, Refusal)


def test_a_member_of_another_agreement_does_not_stop_the_others() -> None:
    federation = Federation(agreement_of())
    federation.members["b"]._agreement = agreement_of(purpose="other")
    federation.members["c"]._agreement = agreement_of(weights=WEIGHTS + 1)
    _, outcomes = federation.run(3)
    assert [o.survivors for o in outcomes] == [("a",)] * 3
    assert outcomes[-1].refusals == {"b": RefusalCode.AGREEMENT, "c": RefusalCode.PLAN}


def test_seeded_noise_is_refused_outside_a_simulation() -> None:
    federation = Federation(agreement_of(), seeded=False)
    _, outcomes = federation.run(1)
    assert outcomes[0].survivors == ()
    assert set(outcomes[0].refusals.values()) == {RefusalCode.FAILED}
    for member in federation.members.values():
        assert isinstance(member.error, PrivacyError)
        assert "seeded noise protects nobody" in str(member.error)
    assert not federation.trainers["a"].changes


def test_secure_noise_is_accepted_outside_a_simulation() -> None:
    trainers = {name: PullTrainer(1.0, generator=None) for name in "abc"}
    federation = Federation(agreement_of(), seeded=False, trainers=trainers)
    _, outcomes = federation.run(1)
    assert outcomes[0].survivors == ("a", "b", "c")
    changes = [t.changes[0] for t in trainers.values()]
    assert np.abs(changes[0] - changes[1]).min() > 0


# What arrives at the coordinator.


def answering(reply):
    """A federation whose member b answers with ``reply(honest answer)``."""
    federation = Federation(agreement_of())
    honest = federation.members["b"].answer
    apps = {n: member_app(m.answer) for n, m in federation.members.items()}
    apps["b"] = member_app(lambda data: reply(honest(data)))
    grid = InMemoryGrid(apps)
    federation.coordinator = Coordinator(federation.agreement, grid, grid.nodes)
    return federation


@pytest.mark.parametrize(
    "reply",
    [
        lambda data: data[:-4],
        lambda data: data + b"\x00\x00\x00\x00",
        lambda data: data.replace(b'"member":"b"', b'"member":"a"'),
        lambda data: data.replace(b'"round":1', b'"round":2'),
        lambda data: data.replace(b'"agreement":"', b'"agreement":"0')[:-1],
        lambda data: data[:-4] + np.float32(np.nan).tobytes(),
        lambda data: b"",
        lambda data: plan(agreement_of()),
        lambda data: encode(Refusal(agreement_of().digest(), 1, "a", RefusalCode.FAILED)),
    ],
    ids=["short", "long", "for a", "for 2", "agreement", "nan", "empty", "plan", "a refuses"],
)
def test_an_answer_to_something_else_never_enters_the_sum(reply) -> None:
    with pytest.raises(WireError):
        answering(reply).run(1)
