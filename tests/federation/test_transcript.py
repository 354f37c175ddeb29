# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What the survivors' signatures prove of a round, and the ε that follows from it."""

import dataclasses
import json

import pytest
from few_numbers import FOUR, SEED, Federation, SumTrainer, agreement_of

from fedcode.agreement import SignedAgreement
from fedcode.errors import ConfigError, SecureSumError
from fedcode.federation import AggregationSettings, TrainingSettings
from fedcode.groups import groups
from fedcode.privacy.accountant import epsilon, epsilon_of_sums
from fedcode.report.agreements import verdict
from fedcode.rounds.transcript import Summed, against_sums, signed_survivors
from fedcode.rounds.verification import verify
from fedcode.simulation.identities import coordinator_of, key_of
from fedcode.transport.in_memory import Silent
from fedcode.wire import Refusal, RefusalCode, decode, encode, sign

AGREEMENT = agreement_of(roster=FOUR, mode="secagg")


def silent(_data):
    raise Silent


def round_of(agreement, lost=(), rounds=1):
    federation = Federation(agreement)
    for name in lost:
        federation.ways[name] = silent
    return federation.run(rounds)[1]


@pytest.fixture(scope="module")
def confirmations():
    (story,) = round_of(AGREEMENT)[0].sums
    return story.confirmations


def read(text, agreement=AGREEMENT):
    return decode(bytes.fromhex(text), weights=agreement.weights, length=agreement.length)


def signed(message, key, **changes):
    return encode(sign(dataclasses.replace(message, **changes), key)).hex()


def everyone(confirmations, **changes):
    """The same confirmations with something else in them, signed by their members."""
    messages = map(read, confirmations)
    return [signed(m, key_of(SEED, m.member), **changes) for m in messages]


def check(confirmations, agreement=AGREEMENT, number=1, cohort=FOUR):
    return signed_survivors(agreement, number, cohort, confirmations)


# Signatures.


def test_what_the_survivors_signed_is_who_survived(confirmations) -> None:
    assert check(confirmations) == FOUR
    assert check(confirmations[1:]) == FOUR, "three of four are enough"
    assert check([*confirmations, *confirmations]) == FOUR
    assert check(confirmations[::-1]) == FOUR
    assert check(everyone(confirmations)) == FOUR


def test_who_is_lost_before_the_sum_is_no_survivor() -> None:
    (outcome,) = round_of(AGREEMENT, lost=["b"])
    found = check(outcome.sums[0].confirmations)
    assert found == outcome.survivors == ("a", "c", "d")


def test_every_group_has_survivors_of_its_own() -> None:
    names = tuple(f"m{n:02}" for n in range(13))
    settings = AggregationSettings(mode="secagg-groups", groups=3, malicious=1)
    agreement = agreement_of(roster=names, aggregation=settings)
    for outcome in round_of(agreement, rounds=2):
        found = {
            signed_survivors(agreement, outcome.round, names, story.confirmations)
            for story in outcome.sums
        }
        assert found == set(groups(agreement.digest(), outcome.round, names, 3))
        first, second, *_ = (story.confirmations for story in outcome.sums)
        with pytest.raises(SecureSumError, match="not about one set"):
            signed_survivors(agreement, outcome.round, names, [*first, *second])


def turned(text, place):
    data = bytearray.fromhex(text)
    data[place] ^= 1
    return data.hex()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda c: [], "nobody's confirmation"),
        (lambda c: c[:2], "2 of 4 members confirmed: too few"),
        (lambda c: [c[0]] * 4, "1 of 4 members confirmed: too few"),
        (lambda c: [*c[:3], "zz"], "cannot be read"),
        (lambda c: [*c[:3], ""], "cannot be read"),
        (lambda c: [*c[:3], c[3][:-2]], "cannot be read"),
        (lambda c: [*c[:3], turned(c[3], 20)], "cannot be read|did not sign|not about one"),
        (lambda c: [*c[:3], signed(read(c[3]), key_of(SEED, "a"))], "d did not sign"),
        (
            lambda c: [*c[:3], signed(read(c[3]), key_of(SEED, "d"), member="e")],
            "no member's confirmation",
        ),
        (
            lambda c: [*c[:3], signed(read(c[3]), key_of(SEED, "d"), survivors=("a", "b", "d"))],
            "not about one set",
        ),
        (
            lambda c: [*c[:3], signed(read(c[3]), key_of(SEED, "d"), transcript="00" * 32)],
            "not about one set",
        ),
        (lambda c: everyone(c, round=2), "of another round"),
        (lambda c: everyone(c, agreement="00" * 32), "of another agreement"),
        (lambda c: everyone(c, survivors=("a", "b", "c", "e")), "others than the sum's members"),
        (lambda c: everyone(c, survivors=("a", "b", "c")), "others than the sum's members"),
    ],
)
def test_confirmations_that_prove_nothing_are_refused(confirmations, change, what) -> None:
    with pytest.raises(SecureSumError, match=what):
        check(change(list(confirmations)))


def test_other_messages_are_no_confirmations(confirmations) -> None:
    message = Refusal(AGREEMENT.digest(), 1, "d", RefusalCode.FAILED)
    with pytest.raises(SecureSumError, match="no member's confirmation"):
        check([*confirmations[:3], signed(message, key_of(SEED, "d"))])


def test_a_confirmation_is_of_its_agreement_round_and_cohort(confirmations) -> None:
    with pytest.raises(SecureSumError, match="of another round"):
        check(confirmations, number=2)
    with pytest.raises(SecureSumError, match="of another agreement"):
        check(confirmations, agreement=dataclasses.replace(AGREEMENT, purpose="other"))
    with pytest.raises(SecureSumError, match="others than the sum's members"):
        check(confirmations, cohort=("a", "b", "c"))
    wider = agreement_of(roster=(*FOUR, "e", "f"), mode="secagg")
    (story,) = round_of(wider, lost=["e"])[0].sums
    with pytest.raises(SecureSumError, match="4 of 6 members confirmed: too few"):
        signed_survivors(wider, 1, (*FOUR, "e", "f"), story.confirmations[:4])


# The ε of sums.


def sums_of(survivors, rate=0.1):
    return [Summed(tuple(names), 1.0, rate) for names in survivors]


@pytest.mark.parametrize("colluding", [0, 1, 2])
def test_the_noises_of_those_who_do_not_tell_add_up(colluding) -> None:
    found = against_sums(sums_of([FOUR] * 5), 1e-5, colluding)
    assert list(found) == list(range(colluding + 1))
    for c, spent in found.items():
        assert spent == epsilon_of_sums({(1.0, 0.1, 4): 5}, 1e-5, c)
        assert spent == pytest.approx(epsilon({((4 - c) ** 0.5, 0.1): 5}, 1e-5), rel=1e-9)
    assert sorted(found.values()) == list(found.values())


def test_it_is_that_of_the_member_for_whom_it_is_largest() -> None:
    three = ("a", "b", "c")
    found = against_sums(sums_of([FOUR, FOUR, three, three]), 1e-5, 0)[0]
    most = epsilon_of_sums({(1.0, 0.1, 4): 2, (1.0, 0.1, 3): 2}, 1e-5, 0)
    least = epsilon_of_sums({(1.0, 0.1, 4): 2}, 1e-5, 0)
    assert found == most > least
    assert against_sums([], 1e-5, 1) == {0: 0.0, 1: 0.0}


def test_a_sum_counts_for_its_own_members_alone() -> None:
    """Groups of one round are beside each other, and not one after another."""
    found = against_sums(sums_of([FOUR, ("e", "f", "g")]), 1e-5, 0)[0]
    assert found == epsilon_of_sums({(1.0, 0.1, 3): 1}, 1e-5, 0)


def test_all_that_collude_leave_ones_own_noise() -> None:
    assert against_sums(sums_of([("a", "b", "c")] * 3), 1e-5, 5)[5] == pytest.approx(
        epsilon({(1.0, 0.1): 3}, 1e-5)
    )


def test_tasks_compose_and_local_steps_count_with_their_own_noise_alone() -> None:
    sums = [Summed(FOUR, 1.0, 0.1), Summed(FOUR, 2.0, 0.2), Summed(FOUR, 3.0, 0.1, 4, 1)]
    parts = {(1.0, 0.1, 4): 1, (2.0, 0.2, 4): 1, (3.0, 0.1, 1): 4}
    assert against_sums(sums, 1e-5, 1)[1] == epsilon_of_sums(parts, 1e-5, 1)
    assert against_sums(sums[2:], 1e-5, 0)[0] == epsilon({(3.0, 0.1): 4}, 1e-5)


# Files.


def lines_of(outcomes, cohort=FOUR, task="toy"):
    return [
        {"task": task, "round": outcome.round, "cohort": list(cohort)} | story.plain()
        for outcome in outcomes
        for story in outcome.sums
    ]


@pytest.fixture
def files(tmp_path):
    """A signed agreement, and the transcript of two rounds of which one lost ``b``."""
    training = TrainingSettings(kind="gradient-sum", sampling_rate=0.5)
    agreement = agreement_of(roster=FOUR, mode="secagg", training=training, rounds=2)
    made = SignedAgreement.unsigned(agreement)
    for name in FOUR:
        made = made.sign(name, key_of(SEED, name))
    whole, transcript = tmp_path / "agreement.json", tmp_path / "transcript.jsonl"
    whole.write_text(json.dumps(made.plain()), encoding="utf-8")
    federation = federation_of_sums(agreement)
    states, first = federation.run(1)
    federation.ways["b"] = silent
    _, second = federation.run(1, states[0])

    def write(lines):
        transcript.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")

    write(lines_of([*first, *second]))
    return whole, transcript, write, lines_of([*first, *second])


def federation_of_sums(agreement):
    trainers = {name: SumTrainer(1.0, agreement) for name in agreement.roster.names}
    return Federation(agreement, trainers=trainers)


def test_a_run_is_verified_from_its_files_alone(files) -> None:
    whole, transcript, _, _ = files
    found = verify(whole, None, transcript)
    assert (found.wrong, found.missing, found.sums, found.unproven) == ((), (), 2, ())
    assert found.survivors == (3, 4)
    expected = against_sums(sums_of([FOUR, ("a", "c", "d")], 0.5), 1e-5, 1)
    assert found.epsilon_release == expected


def test_what_does_not_hold_is_named(files) -> None:
    whole, transcript, write, lines = files
    write([lines[0] | {"round": 2}])
    assert "of another round" in verify(whole, None, transcript).wrong[0]
    for cohort in ([*FOUR, "stranger"], [], ["a"]):
        write([lines[0] | {"cohort": cohort}])
        assert "cohort" in verify(whole, None, transcript).wrong[0]


@pytest.mark.parametrize("says", [{}, {"threshold": 99}, {"threshold": 0}, {"aborted": "why"}])
def test_the_coordinator_does_not_say_which_sums_count(files, says) -> None:
    whole, transcript, write, lines = files
    write([line | says for line in lines])
    found = verify(whole, None, transcript)
    assert (found.wrong, found.sums, found.unproven) == ((), 2, ())


def test_rounds_whose_survivors_are_kept_back_are_named(files) -> None:
    whole, transcript, write, lines = files
    write([lines[0] | {"confirmations": lines[0]["confirmations"][:2]}, lines[1]])
    found = verify(whole, None, transcript)
    assert (found.wrong, found.sums, found.unproven) == ((), 1, (1,))
    write([lines[0] | {"task": "other"}, lines[1]])
    found = verify(whole, None, transcript)
    assert (found.wrong, found.sums, found.unproven) == ((), 1, (1,))
    assert any("not proved of every sum of round 1:" in one for one in verdict(**found.plain()))


def test_a_transcript_that_is_cut_proves_no_less_than_it_says(files) -> None:
    whole, transcript, write, lines = files
    for rest, unproven in (([lines[0]], (2,)), ([], (1, 2))):
        write(rest)
        found = verify(whole, None, transcript)
        assert (found.wrong, found.unproven) == ((), unproven)
        said = verdict(**found.plain())
        assert all(" at least " in one for one in said if one.startswith("ε"))
    assert not any("at least" in one for one in verdict(**verify(whole, None, None).plain()))


def test_nobody_is_in_two_sums_of_one_round(files) -> None:
    whole, transcript, write, lines = files
    write([*lines, lines[0]])
    assert verify(whole, None, transcript).wrong[0] == "round 1: a is in two sums"


def test_confirmations_that_cannot_be_read_are_wrong_and_not_too_few(files) -> None:
    whole, transcript, write, lines = files
    write([lines[0] | {"confirmations": ["zz"]}, lines[1]])
    found = verify(whole, None, transcript)
    assert found.wrong == ("round 1: a confirmation cannot be read",)
    assert found.unproven == (1,)


def test_the_epoch_before_must_be_signed_too(files) -> None:
    whole, _, _, _ = files
    earlier = agreement_of(roster=FOUR, mode="secagg")
    made = SignedAgreement.unsigned(earlier).sign("a", key_of(SEED, "a"))
    before = whole.with_name("before.json")
    before.write_text(json.dumps(made.plain()), encoding="utf-8")
    later = dataclasses.replace(earlier, roster=earlier.roster.following(earlier.roster.members))
    after = SignedAgreement.unsigned(later)
    for name in FOUR:
        after = after.sign(name, key_of(SEED, name))
    whole.write_text(json.dumps(after.plain()), encoding="utf-8")
    assert verify(whole, before, None).wrong == tuple(
        f"{name} has not signed the epoch before" for name in "bcd"
    )


def test_an_agreement_in_which_a_key_stands_twice_is_none(files) -> None:
    whole, _, _, _ = files
    text = whole.read_text("utf-8")
    whole.write_text(text.replace('"purpose": ', '"purpose": "sale", "purpose": '), "utf-8")
    with pytest.raises(ConfigError):
        verify(whole, None, None)


@pytest.mark.parametrize("number", ["Infinity", "1e400", "true", "0", '"1"', "9" * 5000])
def test_numbers_that_are_none_are_refused(files, number) -> None:
    whole, transcript, _, lines = files
    text = json.dumps(lines[0]).replace('"round": 1', f'"round": {number}')
    transcript.write_text(text, "utf-8")
    with pytest.raises(ConfigError):
        verify(whole, None, transcript)
    text = whole.read_text("utf-8").replace('"epoch": 1', f'"epoch": {number}')
    whole.write_text(text, "utf-8")
    with pytest.raises(ConfigError):
        verify(whole, None, None)


@pytest.mark.parametrize("text", ["{", "[]", "[[]]", '{"task": "toy"}', "[" * 10_000, "\xff"])
def test_files_that_are_something_else_are_refused(files, text) -> None:
    whole, transcript, _, _ = files
    transcript.write_text(text, "latin-1")
    with pytest.raises(ConfigError):
        verify(whole, None, transcript)
    transcript.write_text("", "utf-8")
    whole.write_text(text, "latin-1")
    with pytest.raises(ConfigError):
        verify(whole, None, transcript)


def test_the_coordinators_key_is_no_members() -> None:
    (story,) = round_of(AGREEMENT)[0].sums
    forged = [signed(read(text), coordinator_of(SEED)) for text in story.confirmations]
    with pytest.raises(SecureSumError, match="a did not sign"):
        check(forged)
