# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever is done to a ledger in whatever order, it never pays out more than a budget."""

import tempfile
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fedcode.errors import BudgetExhausted, PrivacyError
from fedcode.privacy.accountant import Cost, Filter
from fedcode.privacy.ledger import BudgetLedger
from fedcode.record import PrivacyUnit

WHOLE = Filter.for_budget(1.0, 1e-5, 32.0)
BUDGETS = {"a": WHOLE, "b": Filter(1.0, 1e-5, 32.0, 1000), "c": Filter(1.0, 1e-5, 32.0, 7)}
ASSETS = st.sampled_from(sorted(BUDGETS))


class LedgerMachine(RuleBasedStateMachine):
    """Two openings of one file, and a dictionary that says what must be in it."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "ledger.sqlite"
        self.ledgers = [BudgetLedger.open(self.path) for _ in range(2)]
        self.charges: dict[str, list[int]] = {}
        self.receipts = []
        self.sent = set()
        self.heads = [self.ledgers[0].head]

    @rule(which=st.integers(0, 1), asset=ASSETS, name=st.sampled_from(["o", "p"]))
    def open_account(self, which, asset, name) -> None:
        self.ledgers[which].open_account(
            asset, organization=name, unit=PrivacyUnit.FUNCTION, budget=BUDGETS[asset]
        )
        self.charges.setdefault(asset, [])

    @precondition(lambda self: self.charges)
    @rule(which=st.integers(0, 1), asset=ASSETS, more=st.integers(1, 10))
    def open_account_with_more(self, which, asset, more) -> None:
        if asset in self.charges:
            raised = Filter(1.0 + more, 1e-5, 32.0, BUDGETS[asset].budget_nano + more)
            with pytest.raises(PrivacyError):
                self.ledgers[which].open_account(
                    asset, organization="o", unit=PrivacyUnit.FUNCTION, budget=raised
                )

    @rule(
        which=st.integers(0, 1),
        asset=ASSETS,
        nano=st.one_of(st.integers(1, 10), st.integers(1, 600), st.integers(1, 10**9)),
    )
    def charge(self, which, asset, nano) -> None:
        cost = Cost(nano, 32.0, 1e5, 1e-3, 1)
        before = sum(self.charges.get(asset, []))
        try:
            receipt = self.ledgers[which].charge(
                cost, asset=asset, agreement="x", task="t", round=1
            )
        except BudgetExhausted:
            assert before + nano > BUDGETS[asset].budget_nano, "refused what could be paid"
        except PrivacyError:
            assert asset not in self.charges
        else:
            self.charges[asset].append(nano)
            self.receipts.append(receipt)

    @precondition(lambda self: self.receipts)
    @rule(which=st.integers(0, 1), index=st.integers(0, 10**6))
    def send(self, which, index) -> None:
        receipt = self.receipts[index % len(self.receipts)]
        if receipt.seq in self.sent:
            with pytest.raises(PrivacyError):
                self.ledgers[which].sent(receipt)
        else:
            self.ledgers[which].sent(receipt)
            self.sent.add(receipt.seq)

    @rule(which=st.integers(0, 1))
    def open_again(self, which) -> None:
        self.ledgers[which].close()
        self.ledgers[which] = BudgetLedger.open(self.path)

    @invariant()
    def the_ledger_has_what_was_charged_and_no_budget_is_passed(self) -> None:
        for asset, charges in self.charges.items():
            for ledger in self.ledgers:
                assert ledger.spent(asset) == sum(charges) <= BUDGETS[asset].budget_nano
                assert ledger.remaining(asset) == BUDGETS[asset].budget_nano - sum(charges)

    @invariant()
    def nothing_that_was_written_changes(self) -> None:
        for head in {self.heads[0], self.heads[-1]}:
            self.ledgers[0].verify(head)
        self.heads.append(self.ledgers[1].head)

    def teardown(self) -> None:
        if not hasattr(self, "folder"):
            return
        for asset, charges in self.charges.items():
            history = self.ledgers[0].history(asset)
            assert [c.cost_nano for c in history] == charges
            assert {c.seq for c in history if c.state == "SENT"} <= self.sent
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
