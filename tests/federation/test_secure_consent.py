# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a member answers in a secure sum, once; what it refuses: replays, restarts, forgeries."""

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from few_numbers import (
    COST,
    FOUR,
    SEED,
    START,
    Federation,
    PullTrainer,
    Steps,
    agreement_of,
    plan,
    read,
    refusal,
)

from fedcode.errors import LedgerDamaged, Misbehaviour, TrainingError
from fedcode.federation import AggregationSettings
from fedcode.privacy.ledger import BudgetLedger
from fedcode.rounds.coordinator import State
from fedcode.secure_sum import shamir
from fedcode.secure_sum.keys import mask_key
from fedcode.secure_sum.masks import add_masks
from fedcode.simulation.identities import coordinator_of, key_of
from fedcode.wire import (
    Confirmation,
    ConfirmationList,
    Keys,
    ReceivedMasked,
    Refusal,
    RefusalCode,
    Reveal,
    ShareDelivery,
    Shares,
    SurvivorList,
    encode,
    sign,
)

COORDINATOR = coordinator_of(SEED)
ANSWERS = (Keys, Shares, ReceivedMasked, Confirmation, Reveal)
MASKED = 2
"""The step in which a member pays and trains."""


@pytest.fixture
def federation():
    return Federation(agreement_of(roster=FOUR, mode="secagg"))


def requests_to(steps, name):
    """What each step asks of one member: each is made when the others have answered it."""
    return [make()[name] for make in steps.requests()]


def signed(message, **changes):
    """A message as the coordinator would sign it."""
    return encode(sign(dataclasses.replace(message, **changes), COORDINATOR))


def spent(federation, name="a"):
    return federation.ledgers[name].spent("code") // COST.nano


# Once, and the same again.


def test_the_same_request_gets_the_same_bytes_at_every_step(federation) -> None:
    steps, member = Steps(federation), federation.members["a"]
    for make, kind in zip(steps.requests(), ANSWERS, strict=True):
        asked = make()["a"]
        first = member.answer(asked)
        assert isinstance(read(first), kind)
        assert [member.answer(asked) for _ in range(3)] == [first] * 3
    assert spent(federation) == 1
    assert len(federation.trainers["a"].changes) == 1
    steps.total()


def test_an_earlier_step_of_the_same_round_gets_what_it_got(federation) -> None:
    steps, member = Steps(federation), federation.members["a"]
    asked = requests_to(steps, "a")[:4]
    before = [member.answer(data) for data in asked]
    for data, answer in zip(asked[::-1], before[::-1], strict=True):
        assert member.answer(data) == answer
    assert spent(federation) == 1


def test_a_masked_term_is_in_the_outbox_before_it_leaves(federation, monkeypatch) -> None:
    asked, member = Steps(federation).deliveries()["a"], federation.members["a"]
    ledger, kept = federation.ledgers["a"], []
    sent = type(ledger).sent

    def looking(self, receipt):
        kept.append(self.answer("code", federation.agreement.digest(), 1).message)
        sent(self, receipt)

    monkeypatch.setattr(type(ledger), "sent", looking)
    answer = member.answer(asked)
    assert kept == [answer]
    assert isinstance(read(answer), ReceivedMasked)


def others(message):
    """The same request with something in it that is not the same."""
    cut = message.ciphertexts[1:]
    yield "one sender less", signed(message, ciphertexts=cut)
    (name, text), *rest = message.ciphertexts
    turned = f"{int(text[0], 16) ^ 1:x}" + text[1:]
    yield "another share", signed(message, ciphertexts=((name, turned), *rest))


@pytest.mark.parametrize("other", ["one sender less", "another share"])
def test_another_delivery_for_an_answered_round_ends_the_members_part(federation, other) -> None:
    steps, member = Steps(federation), federation.members["a"]
    asked = steps.deliveries()["a"]
    member.answer(asked)
    changed = dict(others(steps.sum.deliveries()["a"]))[other]
    assert refusal(member.answer(changed)) == RefusalCode.PROTOCOL
    assert isinstance(member.objection, Misbehaviour)
    assert member.objection.culprit == "coordinator"
    assert len(member.objection.evidence) == 2
    assert spent(federation) == 1
    proof = member.objection
    assert refusal(member.answer(asked)) == RefusalCode.PROTOCOL, "it has given up"
    assert member.objection is proof, "what follows from a proof does not take its place"


def test_a_member_that_is_closed_ends_its_answer_first() -> None:
    class Long(PullTrainer):
        def train(self, weights, receipt):
            begun.set()
            assert not closed.wait(0.2), "closed in the middle of an answer"
            return super().train(weights, receipt)

    begun, closed = threading.Event(), threading.Event()
    federation = Federation(agreement_of(mode="secagg"), trainers={"a": Long(0.0)})
    asked, member = Steps(federation).deliveries()["a"], federation.members["a"]
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(member.answer, asked)
        assert begun.wait(10)
        member.close()
        closed.set()
    assert isinstance(read(answer.result()), ReceivedMasked)
    assert refusal(member.answer(asked)) == RefusalCode.PLAN


def test_a_term_that_could_not_be_made_is_not_paid_for_again() -> None:
    class Late(PullTrainer):
        def train(self, weights, receipt):
            super().train(weights, receipt)
            raise TrainingError("x")

    federation = Federation(agreement_of(roster=FOUR, mode="secagg"), trainers={"a": Late(0.0)})
    asked, member = Steps(federation).deliveries()["a"], federation.members["a"]
    codes = [refusal(member.answer(asked)) for _ in range(3)]
    assert codes == [RefusalCode.FAILED, RefusalCode.PLAN, RefusalCode.PLAN]
    assert spent(federation) == len(federation.trainers["a"].changes) == 1


def test_a_term_that_could_not_be_kept_is_not_made_again(federation, monkeypatch) -> None:
    asked, member = Steps(federation).deliveries()["a"], federation.members["a"]

    def full(*_):
        raise OSError("no space")

    with monkeypatch.context() as patched:
        patched.setattr(BudgetLedger, "arm", full)
        assert refusal(member.answer(asked)) == RefusalCode.FAILED
    assert refusal(member.answer(asked)) == RefusalCode.PLAN
    assert spent(federation) == 1


# The charge.


def test_the_charge_comes_after_the_keys_and_shares_and_before_the_training(
    federation, monkeypatch
) -> None:
    log, ledger, trainer = [], federation.ledgers["a"], federation.trainers["a"]
    charge, train, honest = ledger.charge, trainer.train, federation.ways["a"]
    monkeypatch.setattr(
        ledger, "charge", lambda *g, **k: (log.append("charge"), charge(*g, **k))[1]
    )
    monkeypatch.setattr(trainer, "train", lambda *g: (log.append("train"), train(*g))[1])
    federation.ways["a"] = lambda data: (log.append(type(read(data)).__name__), honest(data))[1]
    federation.run(1)
    assert log == [
        "Plan", "KeyBook", "ShareDelivery", "charge", "train", "SurvivorList", "ConfirmationList",
    ]  # fmt: skip


def spoiled(steps, name="a"):
    """Deliveries that a member must not train for, as the coordinator would sign them."""
    good = steps.sum.deliveries()[name]
    (first, one), (second, two), *rest = good.ciphertexts
    yield signed(good, ciphertexts=((first, two), (second, one), *rest)), "swapped"
    yield signed(good, ciphertexts=((first, "00" * 82), (second, two), *rest)), "made up"
    yield signed(good, ciphertexts=((first, one),)), "too few"
    yield signed(good, ciphertexts=(*good.ciphertexts, ("e", one))), "a stranger's"
    yield signed(good, transcript="00" * 32), "of another book"
    yield encode(steps.sum.deliveries()["b"]), "for b"


@pytest.mark.parametrize("number", range(6))
def test_nobody_trains_for_shares_that_are_not_accepted(federation, number) -> None:
    steps = Steps(federation)
    steps.deliveries()
    data, _ = list(spoiled(steps))[number]
    assert refusal(federation.members["a"].answer(data)) == RefusalCode.PROTOCOL
    assert spent(federation) == 0
    assert not federation.trainers["a"].changes


def test_a_ledger_that_is_damaged_is_no_fault_of_the_coordinators(federation, monkeypatch) -> None:
    member = federation.members["a"]

    def damaged(*_):
        raise LedgerDamaged("x")

    monkeypatch.setattr(BudgetLedger, "latch", damaged)
    assert refusal(member.answer(plan(federation.agreement))) == RefusalCode.FAILED
    assert isinstance(member.error, LedgerDamaged)
    assert member.objection is None


# What is seen of one term.


def shared_secret(steps, revealed, kind, name):
    """What the coordinator makes of the shares of one secret."""
    holders = [one.member for one in revealed][: steps.session.threshold]
    weights = shamir.weights_at_zero([steps.session.index(holder) for holder in holders])
    shares = {one.member: bytes.fromhex(dict(getattr(one, kind))[name]) for one in revealed}
    return shamir.combine([shares[holder] for holder in holders], weights)


@pytest.mark.parametrize("whole", [False, True], ids=["its seed is secret", "its seed is known"])
def test_a_term_that_comes_too_late_stays_hidden_by_its_own_mask(federation, whole) -> None:
    """The others have revealed what takes its pairwise masks away."""
    steps = Steps(federation)
    deliveries = steps.deliveries()
    seed = bytes(federation.members["d"]._sum.half._seed)
    late = read(federation.members["d"].answer(deliveries["d"]))
    for name in "abc":
        answer = federation.members[name].answer(deliveries[name])
        steps.sum.add_masked(read(answer))
    survivors = encode(steps.sum.survivors())
    for name in "abc":
        steps.sum.add_confirmation(read(federation.members[name].answer(survivors)))
    confirmations = encode(steps.sum.confirmations())
    revealed = [read(federation.members[name].answer(confirmations)) for name in "abc"]

    private = X25519PrivateKey.from_private_bytes(shared_secret(steps, revealed, "keys", "d"))
    public = {keys.member: keys.masking for keys in steps.sum.book().keys}
    place = steps.session.index
    pairs = [
        mask_key(private, public[name], late.transcript, place(name), place("d")) for name in "abc"
    ]
    seen = late.values.copy()
    add_masks(seen, pairs, [seed] if whole else [])
    (release,) = federation.trainers["d"].releases
    term = release.term(federation.agreement.lattice()).values
    assert (seen.view(np.int32) == term).all() == whole


# Restarts.


@pytest.fixture
def on_disk(tmp_path):
    federation = Federation(agreement_of(roster=FOUR, mode="secagg"), folder=tmp_path)
    yield federation
    for ledger in federation.ledgers.values():
        ledger.close()


def latched(ledger):
    """The steps that a ledger holds one answer to."""
    rows = ledger._chain.query(
        "SELECT body ->> '$.round', body ->> '$.step' FROM entries WHERE kind = 'LATCHED'"
    )
    return [tuple(row) for row in rows]


@pytest.mark.parametrize("done", range(1, 6), ids=[kind.__name__ for kind in ANSWERS])
def test_who_is_started_again_in_the_middle_answers_nothing_more(on_disk, done) -> None:
    asked = []
    for make in Steps(on_disk).requests()[:done]:
        asked.append(make()["a"])
        on_disk.members["a"].answer(asked[-1])
    charged, latches = spent(on_disk), latched(on_disk.ledgers["a"])
    on_disk.restart("a")
    member = on_disk.members["a"]
    plans = [asked[0], plan(on_disk.agreement, weights=START + 1)]
    expected = RefusalCode.PLAN if done > MASKED else RefusalCode.PROTOCOL
    assert {refusal(member.answer(data)) for data in plans} == {expected}
    assert {refusal(member.answer(data)) for data in asked[1:]} <= {RefusalCode.PLAN}
    assert spent(on_disk) == charged == (done > MASKED)
    assert latched(on_disk.ledgers["a"]) == latches
    assert latches == [(1, "keys"), (1, "survivors")][: 1 + (done > MASKED + 1)]
    assert len(on_disk.trainers["a"].changes) == charged
    _, (outcome,) = on_disk.run(1, State(1, START))
    assert outcome.survivors == FOUR, "the next round is another one"


def test_a_crash_between_latch_and_answer_gives_no_second_set_of_keys(on_disk, monkeypatch) -> None:
    """The first set may have been seen, whatever became of it."""

    def cut(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("fedcode.rounds.member._Sum", cut)
        with pytest.raises(KeyboardInterrupt):
            on_disk.members["a"].answer(plan(on_disk.agreement))
    on_disk.restart("a")
    member = on_disk.members["a"]
    assert refusal(member.answer(plan(on_disk.agreement))) == RefusalCode.PROTOCOL
    assert "answered otherwise" in str(member.objection)
    assert latched(on_disk.ledgers["a"]) == [(1, "keys")]


def test_a_round_goes_on_without_whoever_was_started_again(on_disk) -> None:
    def dying(data):
        if isinstance(read(data), ShareDelivery) and read(data).round == 1:
            on_disk.restart("c")
        return on_disk.members["c"].answer(data)

    on_disk.ways["c"] = dying
    states, (outcome,) = on_disk.run(1)
    assert outcome.survivors == ("a", "b", "d")
    assert outcome.refusals == {"c": RefusalCode.PLAN}
    assert spent(on_disk, "c") == 0
    on_disk.ways["c"] = on_disk.members["c"].answer
    _, (outcome,) = on_disk.run(1, states[0])
    assert outcome.survivors == FOUR


# Requests that are old, out of order, or not the coordinator's.


def test_the_requests_of_an_earlier_round_are_refused_at_every_step_of_the_next(
    federation,
) -> None:
    old = requests_to(Steps(federation), "a")
    federation.members["a"].answer(old[-1])
    steps, member = Steps(federation, number=2), federation.members["a"]
    for make in steps.requests():
        member.answer(make()["a"])
        assert {refusal(member.answer(data)) for data in old} == {RefusalCode.PLAN}
    assert spent(federation) == 2
    assert member.objection is None


def test_steps_that_are_skipped_are_refused_and_the_sum_goes_on(federation) -> None:
    steps, member, three = Steps(federation), federation.members["a"], FOUR[1:]
    book = steps.books()["a"]
    shares = [read(federation.members[name].answer(book)) for name in three]
    place = shares[0].agreement, 1, shares[0].plan
    transcript = shares[0].transcript
    sent = tuple((one.member, dict(one.ciphertexts)["a"]) for one in shares)
    delivery = ShareDelivery(*place, "a", transcript, sent)
    survivors = SurvivorList(*place, transcript, "00" * 32, FOUR)
    confirmations = ConfirmationList(*place, transcript, "00" * 32, FOUR, ())

    for ahead in (delivery, survivors, confirmations):
        assert refusal(member.answer(signed(ahead))) == RefusalCode.PROTOCOL
    steps.deliveries()
    for ahead in (survivors, confirmations):
        assert refusal(member.answer(signed(ahead))) == RefusalCode.PROTOCOL
    assert spent(federation) == 0
    lists = steps.lists()
    for name in three:
        steps.sum.add_confirmation(read(federation.members[name].answer(lists[name])))
    enough = encode(steps.sum.confirmations())
    assert refusal(member.answer(enough)) == RefusalCode.PROTOCOL, "it has confirmed nothing"
    assert isinstance(read(member.answer(lists["a"])), Confirmation)
    assert isinstance(read(member.answer(enough)), Reveal)
    assert spent(federation) == 1


def test_requests_of_a_sum_that_nobody_has_begun_are_refused(federation) -> None:
    asked = requests_to(Steps(federation), "a")
    fresh = Federation(federation.agreement)
    for data in asked[1:]:
        assert refusal(fresh.members["a"].answer(data)) == RefusalCode.PLAN
    assert spent(fresh) == 0


def foreign(steps, number):
    """The request of one step in other hands."""
    message = read(steps.requests()[number]()["a"])
    yield "a member signs it", encode(sign(message, key_of(SEED, "b"))), RefusalCode.PLAN
    yield "a stranger signs it", encode(sign(message, key_of(SEED, "x"))), RefusalCode.PLAN
    yield "of another agreement", signed(message, agreement="00" * 32), RefusalCode.AGREEMENT
    if number:
        yield "of another round", signed(message, round=2), RefusalCode.PLAN
        yield "of another plan", signed(message, plan="00" * 32), RefusalCode.PROTOCOL
    text = encode(sign(message, COORDINATOR))
    yield "changed", text.replace(b'"round":1', b'"round":2'), RefusalCode.PLAN
    yield "cut", text[:-1], RefusalCode.PLAN


@pytest.mark.parametrize("number", range(5))
def test_requests_that_are_not_the_coordinators_of_this_sum_are_refused(federation, number) -> None:
    steps, member = Steps(federation), federation.members["a"]
    asked = steps.requests()[number]()["a"]
    before = spent(federation), latched(federation.ledgers["a"])
    for what, data, code in foreign(steps, number):
        assert refusal(member.answer(data)) == code, what
    assert (spent(federation), latched(federation.ledgers["a"])) == before
    assert isinstance(read(member.answer(asked)), ANSWERS[number]), "none of it has harmed the sum"


def test_what_members_say_is_no_request(federation) -> None:
    """Not even where the coordinator signs it."""
    steps = Steps(federation)
    asked = requests_to(steps, "a")
    said = [federation.members["b"].answer(steps.requests()[n]()["b"]) for n in range(5)]
    fresh = Federation(federation.agreement)
    fresh.members["a"].answer(asked[0])
    for data in said:
        assert refusal(fresh.members["a"].answer(data)) == RefusalCode.PLAN
        message = read(data)
        if not isinstance(message, ReceivedMasked):
            assert refusal(fresh.members["a"].answer(signed(message))) == RefusalCode.PLAN
    code = Refusal(federation.agreement.digest(), 1, "a", RefusalCode.BUDGET)
    assert refusal(fresh.members["a"].answer(signed(code))) == RefusalCode.PLAN
    assert spent(fresh) == 0


@pytest.mark.parametrize("cohort", [("a", "b"), ("a",)])
def test_a_cohort_in_which_a_sum_hides_nobody_is_refused(federation, cohort) -> None:
    asked = plan(federation.agreement, cohort=cohort)
    assert refusal(federation.members["a"].answer(asked)) == RefusalCode.PLAN
    assert latched(federation.ledgers["a"]) == []
    assert spent(federation) == 0


@pytest.mark.parametrize(
    "settings",
    [{"mode": "secagg-groups"}, {"mode": "open-robust", "rule": "krum", "malicious": 4}],
    ids=lambda settings: settings["mode"],
)
def test_a_cohort_that_is_too_small_for_what_was_agreed_on_is_refused(settings) -> None:
    """In smaller groups a sum hides less, and among fewer updates a rule bears fewer lies."""
    names = tuple(f"m{n:02}" for n in range(12))
    agreement = agreement_of(roster=names, aggregation=AggregationSettings(**settings))
    federation = Federation(agreement)
    few = 11 if agreement.aggregation.masked else 10
    asked = plan(agreement, cohort=names[:few])
    member = federation.members["m00"]
    assert refusal(member.answer(asked)) == RefusalCode.PLAN
    assert member.error is None
    assert spent(federation, "m00") == 0
    assert refusal(member.answer(plan(agreement))) is None


def test_a_round_that_has_begun_takes_no_other_plan(federation) -> None:
    member = federation.members["a"]
    member.answer(plan(federation.agreement, number=2))
    for other in (
        plan(federation.agreement, number=1),
        plan(federation.agreement, number=2, weights=np.zeros_like(START)),
        plan(federation.agreement, number=2, cohort=("a", "b", "c")),
    ):
        assert refusal(member.answer(other)) == RefusalCode.PLAN
    assert latched(federation.ledgers["a"]) == [(2, "keys")]


def test_a_coordinator_that_names_two_sets_of_survivors_gets_one_answer(federation) -> None:
    steps, member = Steps(federation), federation.members["a"]
    asked = steps.lists()["a"]
    first = member.answer(asked)
    fewer = signed(steps.sum.survivors(), survivors=("a", "b", "c"))
    assert refusal(member.answer(fewer)) == RefusalCode.PROTOCOL
    assert member.objection.culprit == "coordinator"
    assert refusal(member.answer(asked)) == RefusalCode.PROTOCOL, "nor anything after it"
    assert isinstance(read(first), Confirmation)


# Who is asked.

SIX = tuple("abcdef")


@pytest.mark.parametrize(("smallest", "fewest"), [(None, 5), (3, 3), (6, 6)])
def test_a_coordinator_cannot_ask_one_organization_and_few_of_its_own(smallest, fewest) -> None:
    """Two thirds of the members, and one, unless they have agreed on something else."""
    settings = AggregationSettings(mode="secagg", smallest_cohort=smallest)
    federation = Federation(agreement_of(roster=SIX, aggregation=settings))
    member = federation.members["a"]
    for asked in range(1, 7):
        answer = member.answer(plan(federation.agreement, asked, SIX[:asked]))
        if asked < fewest:
            assert refusal(answer) is RefusalCode.PLAN
        else:
            assert isinstance(read(answer), Keys)
    assert federation.ledgers["a"].spent("code") == 0
