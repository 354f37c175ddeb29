# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""One organization's record of what it has spent: it can be read, added to, and never overspent.

One account per data asset, whatever the organization, task or agreement is called: renaming
resets nothing. A charge is on disk before the caller gets the receipt without which no gradient is
computed; whatever happens afterwards, the budget is spent. Rows are only added
(:mod:`fedcode.privacy.chain`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Self

from fedcode.errors import BudgetExhausted, ConfigError, LedgerDamaged, PrivacyError
from fedcode.privacy import _validate
from fedcode.privacy.accountant import NANO, Cost, Filter, converted, epsilon, price
from fedcode.privacy.chain import DAMAGED, START, Chain
from fedcode.privacy.receipt import LEDGER, Receipt
from fedcode.privacy.replay import OPENED, RESERVED, SENT, Account, Replay, read_account
from fedcode.record import PrivacyUnit

__all__ = ["Account", "BudgetLedger", "Charge", "Receipt"]

_VERSION = 1
_SCHEMA = """
CREATE UNIQUE INDEX entries_opened ON entries (asset) WHERE kind = 'OPENED';
CREATE UNIQUE INDEX entries_sent ON entries (body ->> '$.charge') WHERE kind = 'SENT';
CREATE VIEW accounts AS SELECT
    seq, time, asset, body ->> '$.organization' AS organization, body ->> '$.unit' AS unit,
    body ->> '$.epsilon' AS epsilon, body ->> '$.delta' AS delta,
    body ->> '$.order' AS renyi_order, body ->> '$.budget_nano' AS budget_nano,
    body ->> '$.seeded' AS seeded
    FROM entries WHERE kind = 'OPENED';
CREATE VIEW sent AS SELECT seq, time, asset, body ->> '$.charge' AS charge
    FROM entries WHERE kind = 'SENT';
CREATE VIEW charges AS SELECT
    seq, time, asset, body ->> '$.agreement' AS agreement, body ->> '$.task' AS task,
    body ->> '$.round' AS round, body ->> '$.cost_nano' AS cost_nano,
    body ->> '$.spent_nano' AS spent_nano, body ->> '$.noise_multiplier' AS noise_multiplier,
    body ->> '$.sampling_rate' AS sampling_rate, body ->> '$.steps' AS steps,
    body ->> '$.delta' AS delta,
    iif(EXISTS (SELECT 1 FROM sent WHERE charge = entries.seq), 'SENT', 'RESERVED') AS state,
    previous, hash
    FROM entries WHERE kind = 'RESERVED'
"""


@dataclass(frozen=True, slots=True)
class Charge:
    """One charge, as the ledger has it."""

    seq: int
    time: str
    asset: str
    agreement: str
    task: str
    round: int
    cost_nano: int
    spent_nano: int
    noise_multiplier: float
    sampling_rate: float
    steps: int
    delta: float
    state: Literal["RESERVED", "SENT"]
    previous: str
    hash: str


class BudgetLedger:
    """See the module. Safe for several threads and processes on one file; not across a fork."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    @classmethod
    def open(cls, path: Path | str, *, read_only: bool = False) -> Self:
        """Opens a ledger, or makes it where there is none.

        Args:
            path: the file, or ``:memory:`` for one that vanishes with the object.
            read_only: for auditors: nothing is written, and nothing is verified yet.

        Raises:
            LedgerDamaged: it is not a ledger, or its rows do not chain.
        """
        ledger = cls(Chain(path, version=_VERSION, schema=_SCHEMA, read_only=read_only))
        if not read_only:
            try:
                ledger.verify()
            except LedgerDamaged:
                ledger.close()
                raise
        return ledger

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._chain.close()

    @property
    def head(self) -> str:
        """Hash of the last row; see :meth:`verify`."""
        return self._chain.head

    def open_account(
        self,
        asset: str,
        *,
        organization: str,
        unit: PrivacyUnit,
        budget: Filter,
        seeded: bool = False,
    ) -> Account:
        """Opens the account of ``asset``, or returns it where it is open with the same budget.

        Raises:
            PrivacyError: it is open with another budget or unit, or the budget passes its own ε.
        """
        if not asset or not organization:
            raise ConfigError("an account needs an asset and an organization")
        if converted(budget.order, budget.budget_nano / NANO, budget.delta) > budget.epsilon:
            raise PrivacyError(f"a budget of {budget.budget_nano} passes ε = {budget.epsilon:g}")
        with self._chain.writing():
            account = self.account(asset)
            if account is None:
                body = {"organization": organization, "unit": str(unit), "seeded": seeded}
                self._chain.append(OPENED, asset, body | asdict(budget))
                return Account(asset, organization, unit, budget, seeded)
        if (account.unit, account.budget, account.seeded) != (unit, budget, seeded):
            raise PrivacyError(
                f"asset {asset} has an account with another budget, ε = {account.budget.epsilon:g} "
                f"for a {account.unit} at order {account.budget.order:g}",
                "a budget is fixed when it is created; go on with that one",
            )
        return account

    def account(self, asset: str) -> Account | None:
        """The account of ``asset``, if it has one."""
        entry = self._chain.last(OPENED, asset)
        return None if entry is None else read_account(entry)

    def accounts(self) -> list[Account]:
        """All accounts, in the order of opening."""
        return [read_account(entry) for entry in self._chain.entries(OPENED)]

    def charge(
        self,
        cost: Cost,
        *,
        asset: str,
        agreement: str,
        task: str,
        round: int,  # noqa: A002  # the field's word
    ) -> Receipt:
        """Pays for one release: durable when this returns, and never given back.

        Args:
            cost: of the account's :meth:`Filter.cost`.
            asset: whose budget pays.
            agreement: digest of what the release is for.
            task: name of the task.
            round: from 1.

        Raises:
            BudgetExhausted: the total would pass the budget; nothing is charged.
            PrivacyError: no account, or a cost that is not what the account's order asks.
        """
        _validate.count(round=round)
        with self._chain.writing():
            account = self._existing(asset)
            _check_price(cost, account)
            spent = self.spent(asset) + cost.nano
            if spent > account.budget.budget_nano:
                raise _exhausted(cost, account, spent - cost.nano)
            values = {
                "agreement": agreement,
                "task": task,
                "round": round,
                "noise_multiplier": float(cost.noise_multiplier),
                "sampling_rate": float(cost.sampling_rate),
                "steps": cost.steps,
                "delta": account.budget.delta,
                "cost_nano": cost.nano,
            }
            entry = self._chain.append(RESERVED, asset, values | {"spent_nano": spent})
        return Receipt(
            seq=entry.seq,
            hash=entry.hash,
            asset=asset,
            agreement=agreement,
            task=task,
            round=round,
            unit=account.unit,
            epsilon=account.budget.epsilon,
            delta=account.budget.delta,
            noise_multiplier=cost.noise_multiplier,
            sampling_rate=cost.sampling_rate,
            steps=cost.steps,
            cost_nano=cost.nano,
            seeded=account.seeded,
            maker=LEDGER,
        )

    def sent(self, receipt: Receipt) -> None:
        """Notes that the release of ``receipt`` has left, or is about to.

        Raises:
            PrivacyError: this ledger did not make the receipt, or its release has left before.
        """
        with self._chain.writing():
            entry = self._chain.entry(receipt.seq)
            if entry is None or (entry.kind, entry.hash) != (RESERVED, receipt.hash):
                raise PrivacyError(f"receipt {receipt.seq} is not of this ledger")
            if self._chain.query("SELECT 1 FROM sent WHERE charge = ?", (receipt.seq,)):
                raise PrivacyError(f"the release of receipt {receipt.seq} has left already")
            self._chain.append(SENT, receipt.asset, {"charge": receipt.seq})

    def spent(self, asset: str, agreement: str | None = None) -> int:
        """All that was ever charged to ``asset``, or its part for one agreement, in nano-units."""
        if agreement is not None:
            part = (
                "SELECT coalesce(sum(cost_nano), 0) FROM charges WHERE asset = ? AND agreement = ?"
            )
            return int(self._chain.query(part, (asset, agreement))[0][0])
        entry = self._chain.last(RESERVED, asset)
        return 0 if entry is None else int(entry.values["spent_nano"])

    def remaining(self, asset: str) -> int:
        """What may still be charged, in nano-units."""
        return self._existing(asset).budget.budget_nano - self.spent(asset)

    def epsilon(self, asset: str) -> float:
        """The ε of everything ever charged to ``asset`` (composed privacy loss distribution)."""
        rows = self._chain.query(
            "SELECT noise_multiplier, sampling_rate, sum(steps) FROM charges "
            "WHERE asset = ? GROUP BY 1, 2",
            (asset,),
        )
        return epsilon({(s, q): steps for s, q, steps in rows}, self._existing(asset).budget.delta)

    def history(self, asset: str) -> list[Charge]:
        """All charges to ``asset``, the oldest first."""
        sent = {
            row[0] for row in self._chain.query("SELECT charge FROM sent WHERE asset = ?", (asset,))
        }
        return [
            Charge(
                seq=entry.seq,
                time=entry.time,
                asset=asset,
                state="SENT" if entry.seq in sent else "RESERVED",
                previous=entry.previous,
                hash=entry.hash,
                **entry.values,
            )
            for entry in self._chain.entries(RESERVED, asset)
        ]

    def verify(self, head: str | None = None) -> int:
        """Checks every row, and every total against the rows before it.

        Args:
            head: a :attr:`head` of earlier; that row must still be there.

        Returns:
            The number of rows.

        Raises:
            LedgerDamaged: names the first row that is not as this class would have written it.
        """
        audit = Replay()
        number, seen = 0, head is None or head == START
        for entry in self._chain.rows():
            number = entry.seq
            seen = seen or entry.hash == head
            try:
                problem = audit.read(entry)
            except (KeyError, TypeError, ValueError, ConfigError, PrivacyError):
                problem = "is not of the form that this version writes"
            if problem:
                raise LedgerDamaged(f"row {number} of the ledger {problem}", DAMAGED)
        if not seen:
            raise LedgerDamaged(
                f"the ledger ends at row {number}, before the head remembered", DAMAGED
            )
        return number

    def export(self) -> Iterator[str]:
        """Every row as one line of JSON, with its hash."""
        for entry in self._chain.rows():
            line = asdict(entry) | {"body": entry.values}
            yield json.dumps(line, sort_keys=True, ensure_ascii=False, allow_nan=False)

    def _existing(self, asset: str) -> Account:
        account = self.account(asset)
        if account is None:
            raise PrivacyError(f"asset {asset} has no account", "open one with its budget first")
        return account


def _check_price(cost: Cost, account: Account) -> None:
    if cost.order != account.budget.order:
        raise PrivacyError(
            f"a cost at order {cost.order:g} cannot be charged to an account "
            f"of order {account.budget.order:g}"
        )
    least = price(cost.order, cost.noise_multiplier, cost.sampling_rate, cost.steps)
    if cost.nano < least:
        raise PrivacyError(f"a cost of {cost.nano} is below its price, {least}")


def _exhausted(cost: Cost, account: Account, spent: int) -> BudgetExhausted:
    budget = account.budget
    return BudgetExhausted(
        f"{account.organization}: the next round costs {cost.nano / NANO:.6f}, and "
        f"{(budget.budget_nano - spent) / NANO:.6f} of {budget.budget_nano / NANO:.6f} remains "
        f"of the budget for ε = {budget.epsilon:g}",
        "the organization takes part in no further round; its budget is for good",
    )
