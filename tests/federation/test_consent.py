# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Who takes part in a round and who does not: consent, budgets, failures, and strange answers."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from few_numbers import (
    COST,
    FOUR,
    ROUNDS,
    SEED,
    START,
    WEIGHTS,
    Federation,
    PullTrainer,
    agreement_of,
    plan,
    read,
    refusal,
    request,
)

from fedcode.errors import ConfigError, LedgerDamaged, PrivacyError, TrainingError
from fedcode.federation import TrainingSettings
from fedcode.rounds.coordinator import Coordinator
from fedcode.rounds.exchange import ABSENT, MALFORMED
from fedcode.rounds.member import Member
from fedcode.simulation.identities import coordinator_of, key_of
from fedcode.transport.in_memory import Silent
from fedcode.wire import (
    ReceivedMasked,
    ReceivedUpdate,
    Refusal,
    RefusalCode,
    encode,
    sign,
    verified,
)

COMPUTED = (ReceivedUpdate, ReceivedMasked)


@pytest.fixture(params=["open", "secagg"])
def mode(request):
    return request.param


# Members that do not take part.


def test_a_member_without_budget_refuses_once_and_the_others_go_on(mode) -> None:
    federation = Federation(agreement_of(roster=FOUR, mode=mode), budgets={"b": 2 * COST.nano})
    asked, honest = [], federation.ways["b"]
    federation.ways["b"] = lambda data: (asked.append(read(data).round), honest(data))[1]
    states, outcomes = federation.run(4)
    assert set(asked) == {1, 2, 3}, "who has none is not asked again"
    assert [o.survivors for o in outcomes] == [FOUR] * 2 + [("a", "c", "d")] * 2
    assert [dict(o.refusals) for o in outcomes[2:]] == [{"b": RefusalCode.BUDGET}] * 2
    assert [s.spent for s in states] == [frozenset()] * 2 + [frozenset("b")] * 2
    assert len(federation.trainers["b"].changes) == 2
    assert federation.ledgers["b"].spent("code") == 2 * COST.nano
    changes = [federation.trainers[n].changes[3] for n in ("a", "c", "d")]
    expected = states[2].weights + np.mean(changes, axis=0)
    np.testing.assert_allclose(states[3].weights, expected, atol=1e-6)


def test_the_account_has_the_last_word_over_the_allowance(mode) -> None:
    federation = Federation(agreement_of(mode=mode), budgets={"b": COST.nano})
    federation.members["b"]._allowance = 10**12
    _, outcomes = federation.run(2)
    assert outcomes[1].refusals == {"b": RefusalCode.BUDGET}
    assert federation.ledgers["b"].spent("code") == COST.nano


def test_an_allowance_holds_though_the_account_has_more(mode) -> None:
    federation = Federation(agreement_of(mode=mode))
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
def test_a_member_that_fails_says_a_code_and_no_text(error, mode) -> None:
    agreement = agreement_of(roster=FOUR, mode=mode)
    federation = Federation(agreement, trainers={"b": FailingTrainer(error)})
    answer = federation.members["b"].answer(request(federation, "b"))
    said = read(answer)
    code = RefusalCode.FAILED
    assert dataclasses.replace(said, signature="") == Refusal(agreement.digest(), 1, "b", code)
    assert verified(said, agreement.roster.key("b"))
    assert b"proprietary" not in answer
    assert federation.members["b"].error is error
    federation = Federation(agreement, trainers={"b": FailingTrainer(error)})
    _, outcomes = federation.run(2)
    assert [dict(o.refusals) for o in outcomes] == [{"b": RefusalCode.FAILED}] * 2
    assert [o.survivors for o in outcomes] == [("a", "c", "d")] * 2


class LateTrainer(PullTrainer):
    """Fails when it has computed already."""

    def train(self, weights, receipt):
        super().train(weights, receipt)
        raise TrainingError("x")


def states(federation, name):
    return [(c.round, c.state, c.cost_nano) for c in federation.ledgers[name].history("code")]


def test_a_round_that_fails_is_paid_all_the_same(mode) -> None:
    agreement = agreement_of(roster=FOUR, mode=mode)
    federation = Federation(agreement, trainers={"b": LateTrainer(0.0)})
    federation.run(2)
    assert states(federation, "b") == [(1, "RESERVED", COST.nano), (2, "RESERVED", COST.nano)]
    assert federation.ledgers["b"].spent("code") == 2 * COST.nano
    assert [state for _, state, _ in states(federation, "a")] == ["SENT", "SENT"]


def test_a_round_that_fails_before_anything_is_computed_is_given_back(mode) -> None:
    trainers = {"b": FailingTrainer(TrainingError("x"))}
    federation = Federation(agreement_of(mode=mode), trainers=trainers)
    federation.run(2)
    assert states(federation, "b") == [(1, "REFUNDED", COST.nano), (2, "REFUNDED", COST.nano)]
    assert federation.ledgers["b"].spent("code") == 0


# What the officers have signed.


@pytest.mark.parametrize("changes", [{"purpose": "sale"}, {"task": "other"}])
def test_what_the_policy_does_not_permit_is_refused_and_costs_nothing(changes, mode) -> None:
    trainers = {name: PullTrainer(1.0, generator=None) for name in "abc"}
    federation = Federation(agreement_of(mode=mode, **changes), seeded=False, trainers=trainers)
    member, ledger = federation.members["a"], federation.ledgers["a"]
    answer = member.answer(plan(federation.agreement))
    assert refusal(answer) == RefusalCode.POLICY
    assert ledger.spent("code") == 0
    assert not trainers["a"].changes
    permitted = Federation(agreement_of(mode=mode), seeded=False, trainers=trainers)
    answer = permitted.members["a"].answer(request(permitted, "a"))
    assert isinstance(read(answer), COMPUTED)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"unit": "author"}, "unit is author in the agreement, and function here"),
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
        Member(
            "a",
            "code",
            member._agreement,
            COST,
            10,
            member._ledger,
            member._trainer,
            key_of(SEED, "a"),
        )


def test_a_key_that_is_not_the_rosters_is_refused() -> None:
    federation = Federation(agreement_of())
    member = federation.members["a"]
    rest = (member._agreement, COST, 10, member._ledger, member._trainer)
    for name, key in (("a", key_of(SEED, "b")), ("stranger", key_of(SEED, "stranger"))):
        with pytest.raises(PrivacyError, match="key is"):
            Member(name, "code", *rest, key, simulated=True)
    with pytest.raises(ConfigError, match="not the coordinator's"):
        Coordinator(federation.agreement, federation.grid, federation.grid.nodes, key_of(SEED, "a"))


def test_many_who_ask_the_same_at_once_get_the_same_and_one_round_is_paid(mode) -> None:
    federation = Federation(agreement_of(mode=mode))
    member, asked = federation.members["a"], request(federation, "a")
    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(member.answer, [asked] * 32))
    assert len(answers) == 1
    assert federation.ledgers["a"].spent("code") == COST.nano
    assert [c.state for c in federation.ledgers["a"].history("code")] == ["SENT"]


def test_an_answer_that_was_kept_and_not_sent_is_sent_when_it_is_asked_for_again(
    monkeypatch, mode
) -> None:
    federation = Federation(agreement_of(mode=mode))
    member, ledger = federation.members["a"], federation.ledgers["a"]
    asked = request(federation, "a")
    with monkeypatch.context() as patch:
        patch.setattr(type(ledger), "sent", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            member.answer(asked)
    assert [c.state for c in ledger.history("code")] == ["ARMED"]
    assert isinstance(read(member.answer(asked)), COMPUTED)
    assert [c.state for c in ledger.history("code")] == ["SENT"]


# A round is answered once.


def test_the_same_request_again_gets_the_same_bytes_and_costs_nothing(mode) -> None:
    federation = Federation(agreement_of(mode=mode))
    member, ledger = federation.members["a"], federation.ledgers["a"]
    asked = request(federation, "a")
    first = member.answer(asked)
    head = ledger.head
    assert member.answer(asked) == first
    assert (ledger.head, ledger.spent("code")) == (head, COST.nano)
    assert len(federation.trainers["a"].changes) == 1


def test_another_plan_for_an_answered_round_is_refused(mode) -> None:
    federation = Federation(agreement_of(roster=FOUR, mode=mode))
    member, ledger = federation.members["a"], federation.ledgers["a"]
    member.answer(request(federation, "a"))
    for other in (
        plan(federation.agreement, weights=START + 1),
        plan(federation.agreement, cohort=("a", "b", "c")),
    ):
        assert refusal(member.answer(other)) == RefusalCode.PLAN
    assert ledger.spent("code") == COST.nano


def test_an_earlier_round_is_over_when_a_later_one_was_answered(mode) -> None:
    federation = Federation(agreement_of(mode=mode))
    member = federation.members["a"]
    first = request(federation, "a")
    member.answer(first)
    member.answer(request(federation, "a", number=2))
    for before in (first, plan(federation.agreement)):
        assert refusal(member.answer(before)) == RefusalCode.PLAN
    assert federation.ledgers["a"].spent("code") == 2 * COST.nano


def test_a_stop_by_a_person_is_no_refusal(mode) -> None:
    trainers = {"b": FailingTrainer(KeyboardInterrupt())}
    federation = Federation(agreement_of(mode=mode), trainers=trainers)
    with pytest.raises(KeyboardInterrupt):
        federation.run(1)


def test_the_ledger_is_charged_before_training_starts(mode) -> None:
    federation = Federation(agreement_of(mode=mode))
    ledger, seen = federation.ledgers["a"], []

    class Looking(PullTrainer):
        def train(self, weights, receipt):
            seen.append((ledger.spent("code"), [c.state for c in ledger.history("code")]))
            return super().train(weights, receipt)

    federation.members["a"]._trainer = Looking(0.0)
    federation.run(1)
    assert seen == [(COST.nano, ["RESERVED"])]


def test_every_round_is_charged_once_for_its_agreement(mode) -> None:
    federation = Federation(agreement_of(mode=mode))
    federation.run()
    for ledger in federation.ledgers.values():
        history = ledger.history("code")
        assert [c.round for c in history] == list(range(1, ROUNDS + 1))
        assert {c.agreement for c in history} == {federation.agreement.digest()}
        assert ledger.spent("code", federation.agreement.digest()) == ROUNDS * COST.nano


# Plans that are not what was agreed on.


def said(agreement, name, key, code=RefusalCode.FAILED, number=1):
    """A refusal in the name of ``name``."""
    return encode(sign(Refusal(agreement.digest(), number, name, code), key))


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
        (lambda a: said(a, "a", coordinator_of(SEED)), RefusalCode.PLAN),
        (lambda a: plan(a, key=key_of(SEED, "b")), RefusalCode.PLAN),
        (lambda a: plan(a, key=key_of(SEED, "stranger")), RefusalCode.PLAN),
        (lambda a: plan(a).replace(b'"round":1', b'"round":2'), RefusalCode.PLAN),
        (lambda a: plan(a)[:-4] + bytes(4), RefusalCode.PLAN),
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
        "a member's",
        "a stranger's",
        "changed round",
        "changed weights",
    ],
)
def test_another_plan_is_refused_and_costs_nothing(make, code, mode) -> None:
    federation = Federation(agreement_of(mode=mode))
    member, ledger = federation.members["a"], federation.ledgers["a"]
    head = ledger.head
    answer = read(member.answer(make(federation.agreement)))
    assert (type(answer), answer.code, answer.member) == (Refusal, code, "a")
    assert ledger.head == head
    assert ledger.spent("code") == 0
    assert not federation.trainers["a"].changes


def test_a_cohort_of_some_members_is_accepted(mode) -> None:
    federation = Federation(agreement_of(roster=FOUR, mode=mode))
    asked = request(federation, "a", cohort=("a", "c", "d"))
    assert isinstance(read(federation.members["a"].answer(asked)), COMPUTED)


def test_a_member_of_another_agreement_does_not_stop_the_others(mode) -> None:
    names = (*FOUR, "e", "f", "g")
    wider = agreement_of(roster=names, mode=mode, weights=WEIGHTS + 1)
    others = {"b": agreement_of(roster=names, mode=mode, purpose="other"), "c": wider}
    federation = Federation(agreement_of(roster=names, mode=mode), agreements=others)
    _, outcomes = federation.run(3)
    assert [o.survivors for o in outcomes] == [("a", "d", "e", "f", "g")] * 3
    assert outcomes[-1].refusals == {"b": RefusalCode.AGREEMENT, "c": RefusalCode.PLAN}


def test_seeded_noise_is_refused_outside_a_simulation(mode) -> None:
    federation = Federation(agreement_of(mode=mode), seeded=False)
    _, outcomes = federation.run(1)
    assert outcomes[0].survivors == ()
    assert set(outcomes[0].refusals.values()) == {RefusalCode.FAILED}
    for member in federation.members.values():
        assert isinstance(member.error, PrivacyError)
        assert "seeded noise protects nobody" in str(member.error)
    assert not federation.trainers["a"].changes


def test_secure_noise_is_accepted_outside_a_simulation(mode) -> None:
    trainers = {name: PullTrainer(1.0, generator=None) for name in "abc"}
    federation = Federation(agreement_of(mode=mode), seeded=False, trainers=trainers)
    _, outcomes = federation.run(1)
    assert outcomes[0].survivors == ("a", "b", "c")
    changes = [t.changes[0] for t in trainers.values()]
    assert np.abs(changes[0] - changes[1]).min() > 0


# What arrives at the coordinator.


def heard_of_b(mode, reply, times=1):
    """What the coordinator makes of ``reply(federation, honest answer)`` from member b."""
    federation = Federation(agreement_of(roster=FOUR, mode=mode))
    honest = federation.ways["b"]
    federation.ways["b"] = lambda data: reply(federation, honest(data))
    states, outcomes = federation.run(times)
    for number, (state, outcome) in enumerate(zip(states, outcomes, strict=True)):
        assert outcome.survivors == ("a", "c", "d")
        changes = [federation.trainers[name].changes[number] for name in "acd"]
        before = states[number - 1].weights if number else START
        np.testing.assert_allclose(state.weights, before + np.mean(changes, 0), atol=1e-6)
    return states, outcomes


def longer(data):
    return data + bytes(4)


REPLIES = {
    "short": lambda _, data: data[:-4],
    "long": lambda _, data: longer(data),
    "for a": lambda _, data: data.replace(b'"member":"b"', b'"member":"a"'),
    "for 2": lambda _, data: data.replace(b'"round":1', b'"round":2'),
    "agreement": lambda _, data: data.replace(b'"agreement":"', b'"agreement":"0')[:-1],
    "nan": lambda _, data: data[:-4] + np.float32(np.nan).tobytes(),
    "last bit": lambda _, data: data[:-1] + bytes([data[-1] ^ 1]),
    "empty": lambda _, data: b"",
    "plan": lambda federation, _: plan(federation.agreement),
    "a refuses": lambda federation, _: said(federation.agreement, "a", key_of(SEED, "a")),
    "a stranger refuses": lambda federation, _: said(
        federation.agreement, "b", key_of(SEED, "stranger")
    ),
    "a's answer": lambda federation, _: federation.members["a"].answer(plan(federation.agreement)),
    "in a's name": lambda federation, _: said(federation.agreement, "a", key_of(SEED, "b")),
    "signed by a": lambda _, data: encode(sign(resent(data), key_of(SEED, "a"))),
}


def resent(data):
    """A message that was received, as it could be sent, but for its signature."""
    message = read(data)
    if isinstance(message, ReceivedUpdate):
        return Refusal(message.agreement, message.round, message.member, RefusalCode.BUDGET)
    return dataclasses.replace(message, signature="")


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
def test_an_answer_to_something_else_never_enters_the_sum(reply, mode) -> None:
    states, outcomes = heard_of_b(mode, reply)
    assert outcomes[0].refusals == {"b": MALFORMED}
    assert not states[0].spent


def test_a_member_that_does_not_answer_is_absent(mode) -> None:
    def silent(_federation, _data):
        raise Silent

    _, outcomes = heard_of_b(mode, silent, times=2)
    assert [o.refusals for o in outcomes] == [{"b": ABSENT}] * 2


@pytest.mark.parametrize(
    ("number", "agreement", "believed"),
    [(1, {}, True), (2, {}, False), (1, {"purpose": "other"}, False)],
    ids=["this round", "another round", "another agreement"],
)
def test_a_budget_is_used_up_by_a_refusal_of_this_round_alone(
    number, agreement, believed, mode
) -> None:
    """One that was recorded elsewhere would end a member's part for good."""

    def replayed(federation, _data):
        agreed = dataclasses.replace(federation.agreement, **agreement)
        return said(agreed, "b", key_of(SEED, "b"), RefusalCode.BUDGET, number)

    states, outcomes = heard_of_b(mode, replayed)
    assert outcomes[0].refusals == {"b": RefusalCode.BUDGET if believed else MALFORMED}
    assert states[0].spent == (frozenset("b") if believed else frozenset())
