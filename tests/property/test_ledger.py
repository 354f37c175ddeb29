# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever is done to a ledger in whatever order, it never pays out more than a budget."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from officers import KEYS, policy

from fedcode.errors import BudgetExhausted, PrivacyError
from fedcode.privacy.accountant import Cost, Filter
from fedcode.privacy.ledger import BudgetLedger
from fedcode.privacy.receipt import Receipt
from fedcode.record import PrivacyUnit

ORDER = 32.0
WHOLE = Filter.for_budget(1.0, 1e-5, ORDER)
SIMULATED = {"b": Filter(1.0, 1e-5, ORDER, 1000), "c": Filter(1.0, 1e-5, ORDER, 7)}
CAPS = {"epsilon": 1.0, "per_30_days": 0.8, "purposes": {"test": 0.6}}
SIGNED = policy(*KEYS[:2], caps=CAPS)
PURPOSE = Filter.for_budget(0.6, 1e-5, ORDER).budget_nano
WINDOW = Filter.for_budget(0.8, 1e-5, ORDER).budget_nano
ASSETS = st.sampled_from(["a", "b", "c"])
WHICH = st.integers(0, 1)
NEXT = {
    ("arm", "RESERVED"): "ARMED",
    ("send", "ARMED"): "SENT",
    ("refund", "RESERVED"): "REFUNDED",
}


@dataclass
class Paid:
    """What the ledger must have of one charge; of all accounts that it was made of."""

    receipt: Receipt
    purpose: str
    assets: list[str]
    state: str = "RESERVED"


@dataclass
class Model:
    """What the ledger must have of one account."""

    paid: list[Paid] = field(default_factory=list)

    def spent(self, purpose=None, *, refunds=False):
        return sum(
            p.receipt.cost_nano
            for p in self.paid
            if (refunds or p.state != "REFUNDED") and purpose in (None, p.purpose)
        )

    def fits(self, asset, nano, purpose):
        if asset != "a":
            return self.spent() + nano <= SIMULATED[asset].budget_nano
        return (
            self.spent() + nano <= WHOLE.budget_nano
            and self.spent(refunds=True) + nano <= WINDOW
            and (purpose != "test" or self.spent("test") + nano <= PURPOSE)
        )


class LedgerMachine(RuleBasedStateMachine):
    """Two openings of one file, and a model of what must be in it."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "ledger.sqlite"
        self.ledgers = [BudgetLedger.open(self.path) for _ in range(2)]
        self.models: dict[str, Model] = {}
        self.heads = [self.ledgers[0].head]

    @rule(which=WHICH, asset=ASSETS, name=st.sampled_from(["o", "p"]))
    def open_account(self, which, asset, name) -> None:
        self.open(which, asset, name, SIMULATED)
        self.models.setdefault(asset, Model())

    @precondition(lambda self: self.models.keys() & SIMULATED.keys())
    @rule(which=WHICH, asset=ASSETS, more=st.integers(1, 10))
    def open_account_with_more(self, which, asset, more) -> None:
        if asset in self.models and asset in SIMULATED:
            nano = SIMULATED[asset].budget_nano + more
            with pytest.raises(PrivacyError):
                self.open(which, asset, "o", {asset: Filter(1.0 + more, 1e-5, ORDER, nano)})

    def open(self, which, asset, name, budgets) -> None:
        unit, ledger = PrivacyUnit.FUNCTION, self.ledgers[which]
        if asset == "a":
            ledger.open_account(asset, policy=SIGNED, unit=unit, order=ORDER)
        else:
            ledger.open_simulated(asset, organization=name, unit=unit, budget=budgets[asset])

    @rule(
        which=WHICH,
        asset=ASSETS,
        purpose=st.sampled_from(["research", "test"]),
        number=st.integers(1, 3),
        nano=st.one_of(st.integers(1, 10), st.integers(1, 600), st.integers(1, 10**9)),
    )
    def charge(self, which, asset, purpose, number, nano) -> None:
        cost = Cost(nano, ORDER, 1e5, 1e-3, 1)
        try:
            receipt = self.ledgers[which].charge(
                cost, asset=asset, agreement="x", purpose=purpose, task="t", round=number
            )
        except BudgetExhausted:
            assert not self.models[asset].fits(asset, nano, purpose), "refused what could be paid"
        except PrivacyError:
            assert asset not in self.models
        else:
            assert self.models[asset].fits(asset, nano, purpose)
            self.models[asset].paid.append(Paid(receipt, purpose, [asset]))

    @rule(which=WHICH, assets=st.permutations(sorted(SIMULATED)), nano=st.integers(1, 8))
    def charge_together(self, which, assets, nano) -> None:
        first, *others = assets
        what = {"agreement": "x", "purpose": "test", "task": "t", "round": 3}
        cost = Cost(nano, ORDER, 1e5, 1e-3, 1)
        known = self.models.keys() >= SIMULATED.keys()
        fits = known and all(self.models[a].fits(a, nano, "test") for a in assets)
        try:
            receipt = self.ledgers[which].charge(cost, asset=first, others=others, **what)
        except PrivacyError:
            assert not fits, "refused what could be paid"
        else:
            assert fits
            paid = Paid(receipt, "test", assets)
            for asset in assets:
                self.models[asset].paid.append(paid)

    @precondition(lambda self: any(m.paid for m in self.models.values()))
    @rule(which=WHICH, index=st.integers(0, 10**6), what=st.sampled_from(["arm", "send", "refund"]))
    def go_on(self, which, index, what) -> None:
        every = [paid for model in self.models.values() for paid in model.paid]
        paid, ledger = every[index % len(every)], self.ledgers[which]
        receipt = paid.receipt
        actions = {
            "arm": lambda: ledger.arm(receipt, "p", receipt.hash.encode()),
            "send": lambda: ledger.sent(receipt),
            "refund": lambda: ledger.refund(receipt),
        }
        before = ledger.answer(receipt.asset, "x", receipt.round)
        answers = [ledger.answer(asset, "x", receipt.round) for asset in paid.assets]
        answered = what == "arm" and any(answer is not None for answer in answers)
        used = what == "refund" and receipt.used
        if (what, paid.state) in NEXT and not answered and not used:
            actions[what]()
            paid.state = NEXT[what, paid.state]
        else:
            with pytest.raises(PrivacyError):
                actions[what]()
            assert ledger.answer(receipt.asset, "x", receipt.round) == before

    @rule(which=WHICH)
    def open_again(self, which) -> None:
        self.ledgers[which].close()
        self.ledgers[which] = BudgetLedger.open(self.path)

    @invariant()
    def the_ledger_has_what_was_charged_and_no_budget_is_passed(self) -> None:
        for asset, model in self.models.items():
            budget = SIMULATED.get(asset, WHOLE).budget_nano
            for ledger in self.ledgers:
                assert ledger.spent(asset) == ledger.spent(asset, "x") == model.spent() <= budget
                assert ledger.remaining(asset) == budget - model.spent()
                states = [p.state for p in model.paid]
                assert ledger.charges(asset) == len(states) - states.count("REFUNDED")

    @invariant()
    def an_answer_is_what_was_armed_last(self) -> None:
        for asset, model in self.models.items():
            armed = {p.receipt.round: p for p in model.paid if p.state in ("ARMED", "SENT")}
            for number in (1, 2, 3):
                answer = self.ledgers[1].answer(asset, "x", number)
                assert (answer is not None) == (number in armed)
                if answer is not None and answer.message is not None:
                    assert armed[number].receipt.asset == asset
                    assert answer.message == armed[number].receipt.hash.encode()

    @invariant()
    def nothing_that_was_written_changes(self) -> None:
        for head in {self.heads[0], self.heads[-1]}:
            self.ledgers[0].verify(head)
        self.heads.append(self.ledgers[1].head)

    def teardown(self) -> None:
        if not hasattr(self, "folder"):
            return
        for asset, model in self.models.items():
            history = self.ledgers[0].history(asset)
            assert [c.cost_nano for c in history] == [p.receipt.cost_nano for p in model.paid]
            assert [c.state for c in history] == [p.state for p in model.paid]
        for ledger in self.ledgers:
            ledger.close()
        self.folder.cleanup()


LedgerMachine.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
TestLedger = LedgerMachine.TestCase


@pytest.mark.slow
def test_many_more_sequences() -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(
            max_examples=300,
            stateful_step_count=60,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
