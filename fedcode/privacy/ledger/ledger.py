# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""One organization's record of what it has spent: it can be read, added to, and never overspent.

One account per data asset, whatever the organization, task or agreement is called: renaming
resets nothing. What is computed on several assets is charged to each of their accounts, in one
transaction, and all these rows share every later state. A charge goes through three states, each on
disk before the next step is taken:

* RESERVED: paid; the caller gets the receipt without which no gradient is computed;
* ARMED: the exact bytes of the message are in the outbox; a retry sends these and no others;
* SENT: they have left.

A crash between two of them leaves the budget spent. Rows are only added
(:mod:`fedcode.privacy.ledger.chain`).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from fedcode.errors import BudgetExhausted, ConfigError, LedgerDamaged, PrivacyError
from fedcode.privacy import _validate
from fedcode.privacy.accountant import NANO, Cost, Filter, converted, epsilon, price
from fedcode.privacy.ledger.account import Account, Caps, Totals
from fedcode.privacy.ledger.acknowledgement import Acknowledgement
from fedcode.privacy.ledger.chain import Chain, Entry
from fedcode.privacy.ledger.charge import Answer, Charge, ChargeId
from fedcode.privacy.ledger.migrations import scripts
from fedcode.privacy.ledger.outbox import Outbox, Seal
from fedcode.privacy.ledger.replay import (
    ADOPTED,
    ARMED,
    FORFEITED,
    LATCHED,
    OPENED,
    REFUNDED,
    RESERVED,
    SENT,
    WITNESSED,
    changed,
    read_account,
)
from fedcode.privacy.ledger.totals import Left, check, forfeited, left, totals
from fedcode.privacy.ledger.verification import PATIENCE, Verification, verify
from fedcode.privacy.ledger.witness import CountersignedHead
from fedcode.privacy.organization import OrganizationPolicy, SignedPolicy
from fedcode.privacy.receipt import LEDGER, Paid, Receipt
from fedcode.record import PrivacyUnit

_MEMORY = ":memory:"

LOST = (
    "put the right file back; if it is gone for good, two officers acknowledge that all was spent: "
    'docs/privacy.md, "A ledger that was set back"'
)
"""What to do with a ledger that lacks rows: a hint."""


class BudgetLedger:
    """See the module. Safe for several threads and processes on one file; not across a fork."""

    def __init__(self, chain: Chain, seal: Seal, verification: Verification | None) -> None:
        self._chain, self._outbox, self._verification = chain, Outbox(chain, seal), verification

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        read_only: bool = False,
        witnessed: Sequence[CountersignedHead] = (),
    ) -> Self:
        """Opens a ledger, or makes it where there is none.

        All rows are verified. Where that takes long it goes on in the background, and damage that
        is found later refuses every charge from then on.

        Args:
            path: the file, or ``:memory:`` for one that vanishes with the object.
            read_only: for auditors: nothing is written, and nothing is verified yet.
            witnessed: what others have countersigned, checked by the caller; each must be there.

        Raises:
            LedgerDamaged: it is not a ledger, its rows do not chain, or it was set back.
        """
        schema, seal, watch = scripts(), Seal.fresh(), None
        chain = Chain(path, scripts=schema, read_only=read_only)
        try:
            if str(path) != _MEMORY and not read_only:
                seal = Seal.beside(Path(path))
                watch = Verification(Chain(path, scripts=schema, read_only=True))
            ledger = cls(chain, seal, watch)
        except PrivacyError:
            chain.close()
            raise
        try:
            ledger._check_witnessed(witnessed)
            ledger.verified(PATIENCE)
        except PrivacyError:
            ledger.close()
            raise
        return ledger

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        if self._verification is not None:
            self._verification.stop()
        self._chain.close()

    # Accounts.

    def open_account(
        self, asset: str, *, policy: SignedPolicy, unit: PrivacyUnit, order: float
    ) -> Account:
        """Opens the account of ``asset``: see :meth:`open_many`."""
        (account,) = self.open_many([asset], policy=policy, unit=unit, order=order)
        return account

    def open_many(
        self, assets: Sequence[str], *, policy: SignedPolicy, unit: PrivacyUnit, order: float
    ) -> list[Account]:
        """Opens accounts under what the officers have signed: all that are missing, or none.

        Args:
            assets: what the data is; in a ledger that has lost rows an account opens as spent.
            policy: the one in force, or the first one.
            unit: what adjacency adds or removes; fixed from now on.
            order: the Rényi order; fixed from now on.

        Returns:
            In the order of ``assets``; those that are open as they are.

        Raises:
            PrivacyError: another policy is in force, it lacks signatures, it does not permit the
                unit, or an account is open with another unit; nothing is opened.
            ConfigError: a cap buys nothing at this order.
        """
        terms = policy.policy
        if unit not in terms.permitted.units:
            raise PrivacyError(f"the policy does not permit the unit {unit}")
        caps, accounts = Caps.of(terms.caps, terms.delta, order, closing=False), []
        with self._writing():
            for asset in assets:
                account = self.account(asset)
                if account is None:
                    self._check_policy(policy)
                    account = Account(asset, terms.organization, unit, caps, False, policy)
                    self._opened(account)
                    known = self._acknowledged()
                    if known is not None:  # it may have had an account in rows that were lost
                        self._forfeit(account, known)
                elif (account.unit, account.policy and account.policy.policy) != (unit, terms):
                    raise _other(account)
                accounts.append(account)
        return accounts

    def open_simulated(
        self, asset: str, *, organization: str, unit: PrivacyUnit, budget: Filter
    ) -> Account:
        """Opens an account whose noise may come from a seed; it protects nobody.

        Raises:
            PrivacyError: it is open with another budget or unit, or the budget passes its own ε.
        """
        (account,) = self.open_many_simulated([(asset, organization)], unit=unit, budget=budget)
        return account

    def open_many_simulated(
        self, owners: Sequence[tuple[str, str]], *, unit: PrivacyUnit, budget: Filter
    ) -> list[Account]:
        """Opens accounts of one budget in one transaction: all that are missing, or none.

        Args:
            owners: asset and organization of each; see :meth:`open_simulated`.
            unit: what adjacency adds or removes.
            budget: of each account by itself.

        Raises:
            PrivacyError: as :meth:`open_simulated`; nothing is opened.
        """
        if not all(asset and organization for asset, organization in owners):
            raise ConfigError("an account needs an asset and an organization")
        caps, accounts = Caps(budget), []
        with self._writing():
            for asset, organization in owners:
                account = self.account(asset)
                if account is None:
                    account = self._opened(Account(asset, organization, unit, caps, True, None))
                elif (account.unit, account.caps, account.seeded) != (unit, caps, True):
                    raise _other(account)
                accounts.append(account)
        return accounts

    def adopt(self, policy: SignedPolicy) -> None:
        """Puts a later policy in force, for every account of the ledger at once.

        A cap that buys nothing at the order of an account is one of 0: lowering always works.

        Raises:
            PrivacyError: it lacks signatures, is no later version, or changes δ.
        """
        with self._writing():
            real = self._under_policy()
            if not real:
                raise PrivacyError("there is no account yet", "open one with the policy")
            policy.check(_in_force(real))
            for account in real:
                if policy.policy.delta != account.budget.delta:
                    raise PrivacyError(f"δ is {account.budget.delta:g} for good")
                order = account.budget.order
                caps = Caps.of(policy.policy.caps, account.budget.delta, order, closing=True)
                body = {"caps": caps.plain(), "signed": policy.plain()}
                self._chain.append(ADOPTED, account.asset, body)

    def account(self, asset: str) -> Account | None:
        """The account of ``asset``, if it has one, under the policy in force."""
        opened = self._chain.entry("asset = ? AND kind = 'OPENED'", (asset,))
        if opened is None:
            return None
        adopted = self._chain.entry("asset = ? AND kind = 'ADOPTED'", (asset,))
        account = read_account(opened)
        return account if adopted is None else changed(account, adopted)

    def accounts(self) -> list[Account]:
        """All accounts, in the order of opening."""
        opened = self._chain.query("SELECT asset FROM entries WHERE kind = 'OPENED' ORDER BY seq")
        return [self._existing(asset) for (asset,) in opened]

    # A charge, from its reservation to its end.

    def charge(
        self,
        cost: Cost,
        *,
        asset: str,
        agreement: str,
        purpose: str,
        task: str,
        round: int,  # noqa: A002  # the field's word
        others: Sequence[str] = (),
        cohort: int = 1,
        allowance: int | None = None,
    ) -> Receipt:
        """Pays for one release: durable when this returns.

        A release that is computed on several assets costs each of them the same: one transaction,
        and one receipt, which is of all their charges.

        Args:
            cost: of the account's :meth:`Filter.cost`.
            asset: whose budget pays.
            agreement: digest of what the release is for.
            purpose: as the agreement names it.
            task: name of the task.
            round: from 1.
            others: assets beside it whose data the release is computed on, too; none twice.
            cohort: members of the round.
            allowance: the most that the agreement may spend on each account, in nano-units.

        Raises:
            BudgetExhausted: a total would pass its cap; nothing is charged to any.
            PolicyRefusal: an account's policy does not permit it.
            PrivacyError: no account, a cost that is not what an account's order asks, or accounts
                of different kinds.
        """
        values = _charged(cost, agreement, purpose, task, round, cohort)
        with self._writing():
            paid = self._reserve_all(asset, others, cost, values, cohort, allowance)
        return _receipt(*paid)

    def charge_many(
        self,
        cost: Cost,
        *,
        assets: Sequence[str],
        agreement: str,
        purpose: str,
        task: str,
        round: int,  # noqa: A002  # the field's word
        cohort: int = 1,
        allowance: int | None = None,
    ) -> list[Receipt]:
        """Pays for one release of each of ``assets`` in one transaction: all of them, or none.

        Each is a charge of its own, checked as :meth:`charge` checks it, with its own receipt.

        Returns:
            Receipts in the order of ``assets``, when all charges are durable.

        Raises:
            BudgetExhausted: one account's total would pass its cap; nothing is charged to any.
            PolicyRefusal: as :meth:`charge`; so PrivacyError.
        """
        values = _charged(cost, agreement, purpose, task, round, cohort)
        with self._writing():
            charged = [self._reserve(asset, cost, values, cohort, allowance) for asset in assets]
        return [_receipt(account, entry) for account, entry in charged]

    def charge_once(
        self,
        request: str,
        cost: Cost,
        *,
        asset: str,
        agreement: str,
        purpose: str,
        task: str,
        round: int,  # noqa: A002  # the field's word
        others: Sequence[str] = (),
        cohort: int = 1,
        allowance: int | None = None,
    ) -> Paid:
        """Pays for one release that another process will make: once for a request.

        The same request, asked again because its answer was lost, gets the charge that it has made.
        No receipt is made here: whoever asked makes its own, and one only.

        Args:
            request: names this one request for good; drawn by whoever asks.
            cost: as :meth:`charge`.
            asset: as :meth:`charge`.
            agreement: as :meth:`charge`.
            purpose: as :meth:`charge`.
            task: as :meth:`charge`.
            round: as :meth:`charge`.
            others: as :meth:`charge`.
            cohort: as :meth:`charge`.
            allowance: as :meth:`charge`.

        Raises:
            PrivacyError: as :meth:`charge`; or the request was for something else, or its charge
                was armed or given back already.
        """
        _validate.text(request=request)
        terms = _charged(cost, agreement, purpose, task, round, cohort)
        values = {**terms, "request": request}
        with self._writing():
            before = self._chain.entry(
                "asset = ? AND body ->> '$.agreement' = ? AND body ->> '$.round' = ? "
                "AND body ->> '$.request' = ? AND body ->> '$.request' IS NOT NULL "
                "AND kind = 'RESERVED'",
                (asset, agreement, round, request),
            )
            if before is None:
                return _paid(*self._reserve_all(asset, others, cost, values, cohort, allowance))
            same = _others(before) == list(others)
            if not same or any(before.values[name] != value for name, value in values.items()):
                raise PrivacyError("the request was for another charge")
            self._check_state(before, RESERVED)
            return _paid(self._existing(asset), before)

    def _reserve_all(
        self,
        asset: str,
        others: Sequence[str],
        cost: Cost,
        values: Mapping[str, Any],
        cohort: int,
        allowance: int | None,
    ) -> tuple[Account, Entry]:
        """One charge of all its accounts, inside a transaction: the first one's row."""
        _check_once([asset, *others])
        more = {"others": list(others)} if others else {}
        account, charge = self._reserve(asset, cost, {**values, **more}, cohort, allowance)
        beside = {name: value for name, value in values.items() if name != "request"}
        for other in others:
            found, _ = self._reserve(other, cost, {**beside, "of": charge.seq}, cohort, allowance)
            _check_alike(account, found)
        return account, charge

    def _reserve(
        self,
        asset: str,
        cost: Cost,
        values: Mapping[str, Any],
        cohort: int,
        allowance: int | None,
    ) -> tuple[Account, Entry]:
        """One charge, inside a transaction."""
        account, after = self._permitted(asset, cost, values, cohort, allowance)
        body = {**values, "delta": account.budget.delta, **after.plain()}
        return account, self._chain.append(RESERVED, asset, body)

    def check_charge(
        self,
        cost: Cost,
        *,
        asset: str,
        agreement: str,
        purpose: str,
        task: str,
        others: Sequence[str] = (),
        cohort: int = 1,
        allowance: int | None = None,
    ) -> None:
        """Whether :meth:`charge` would be made now; nothing is charged or reserved.

        Raises:
            BudgetExhausted: as :meth:`charge`; so PolicyRefusal and PrivacyError.
        """
        _check_once([asset, *others])
        values = {"agreement": agreement, "purpose": purpose, "task": task}
        account, _ = self._permitted(asset, cost, values, cohort, allowance)
        for other in others:
            _check_alike(account, self._permitted(other, cost, values, cohort, allowance)[0])

    def _permitted(
        self,
        asset: str,
        cost: Cost,
        values: Mapping[str, Any],
        cohort: int,
        allowance: int | None,
    ) -> tuple[Account, Totals]:
        """The account, and the totals after a charge that policy and caps permit."""
        account = self._existing(asset)
        _check_order(cost, account)
        purpose, agreement = values["purpose"], values["agreement"]
        if account.policy is not None:
            terms = account.policy.policy
            terms.check(purpose=purpose, task=values["task"], unit=account.unit, cohort=cohort)
        after = totals(self._chain, asset, purpose, agreement).plus(cost.nano)
        if allowance is not None and after.agreement > allowance:
            raise BudgetExhausted(f"the agreement may spend {allowance} on this account")
        check(self._chain, account, purpose, after, cost)
        return account, after

    def arm(self, receipt: Receipt | ChargeId, plan: str, message: bytes) -> None:
        """Keeps the exact bytes that may leave from now on, encrypted; the chain has their digest.

        The message of an earlier round of the agreement goes from the outbox. Here as in
        :meth:`sent` and :meth:`refund`, whoever names a charge by its :class:`ChargeId` may ask
        the same again.

        Args:
            receipt: what paid for the message.
            plan: digest of what is answered.
            message: the bytes.

        Raises:
            PrivacyError: this ledger did not make the receipt, it was refunded or armed before,
                or the round was answered.
        """
        digest = _digest(message)
        with self._writing():
            charge = self._charge(receipt)
            agreement, number = charge.values["agreement"], charge.values["round"]
            body = {"agreement": agreement, "round": number, "plan": plan, "digest": digest}
            rows = self._rows(charge)
            armed = [self._armed(row.asset, agreement, number) for row in rows]
            before, asked = armed[0], {"charge": charge.seq, **body}
            if isinstance(receipt, ChargeId) and before is not None and before.values == asked:
                return
            for row, answered in zip(rows, armed, strict=True):
                self._check_state(row, RESERVED)
                if answered is not None:
                    raise PrivacyError(f"round {number} was answered already")
                self._chain.append(ARMED, row.asset, {"charge": row.seq, **body})
            self._outbox.put(charge, message)

    def sent(self, receipt: Receipt | ChargeId) -> None:
        """Notes that the message of ``receipt`` has left, or is about to.

        Raises:
            PrivacyError: this ledger did not make the receipt, or its message was not armed or
                has left before.
        """
        with self._writing():
            charge = self._charge(receipt)
            if isinstance(receipt, ChargeId) and self._state(charge.seq) == SENT:
                return
            self._check_state(charge, ARMED)
            self._sent(charge)

    def sent_again(
        self,
        asset: str,
        agreement: str,
        round: int,  # noqa: A002  # the field's word
    ) -> None:
        """Notes that an answer that was kept has left, or is about to, if that is not noted yet.

        Args:
            asset: the first of those that were charged.
            agreement: digest of what the answer is for.
            round: from 1.
        """
        with self._writing():
            armed = self._armed(asset, agreement, round)
            if armed is not None and self._state(armed.values["charge"]) == ARMED:
                self._sent(self._reserved(armed.values["charge"]))

    def _sent(self, charge: Entry) -> None:
        for row in self._rows(charge):
            self._chain.append(SENT, row.asset, {"charge": row.seq})

    def refund(self, receipt: Receipt | ChargeId) -> None:
        """Gives a charge back for which nothing was computed, and nothing can be any more.

        Raises:
            PrivacyError: the receipt was used, or is not of this ledger, or was armed.
        """
        if isinstance(receipt, Receipt):
            receipt.use()
        with self._writing():
            charge = self._charge(receipt)
            if isinstance(receipt, ChargeId) and self._state(charge.seq) == REFUNDED:
                return
            self._check_state(charge, RESERVED)
            purpose, agreement = charge.values["purpose"], charge.values["agreement"]
            for row in self._rows(charge):
                before = totals(self._chain, row.asset, purpose, agreement)
                after = before.less(row.values["cost_nano"])
                body = {"charge": row.seq, "purpose": purpose, "agreement": agreement}
                self._chain.append(REFUNDED, row.asset, body | after.plain())

    def answer(
        self,
        asset: str,
        agreement: str,
        round: int,  # noqa: A002  # the field's word
    ) -> Answer | None:
        """What was armed for a round, if anything: a retry sends it again as it is.

        Args:
            asset: the first of those that were charged; the others know that there was an answer.
            agreement: digest of what it is for.
            round: from 1.

        Raises:
            PrivacyError: the outbox' message cannot be opened, or is not what was armed.
        """
        armed = self._armed(asset, agreement, round)
        if armed is None:
            return None
        values = armed.values
        message = self._outbox.get(values["charge"])
        if message is not None and _digest(message) != values["digest"]:
            raise PrivacyError("a message in the outbox is not the one that was armed")
        return Answer(values["plan"], message)

    def empty_outbox(self) -> None:
        """Drops all messages: nothing can be sent again."""
        with self._writing():
            self._outbox.clear()
        self._chain.shrink()

    def latch(
        self,
        asset: str,
        agreement: str,
        round: int,  # noqa: A002  # the field's word
        step: str,
        digest: str,
    ) -> None:
        """Fixes the one answer to a step of a protocol: durable when this returns.

        The same answer may be latched again, after a crash.

        Raises:
            PrivacyError: another answer was latched.
        """
        with self._writing():
            self._existing(asset)
            latched = self._chain.entry(
                "asset = ? AND body ->> '$.agreement' = ? AND body ->> '$.round' = ? "
                "AND body ->> '$.step' = ? AND kind = 'LATCHED'",
                (asset, agreement, round, step),
            )
            if latched is None:
                body = {"agreement": agreement, "round": round, "step": step, "digest": digest}
                self._chain.append(LATCHED, asset, body)
            elif latched.values["digest"] != digest:
                raise PrivacyError(f"{step} of round {round} was answered otherwise")

    # What was spent.

    def spent(self, asset: str, agreement: str | None = None) -> int:
        """All that was ever charged to ``asset``, or its part for one agreement, in nano-units."""
        found = totals(self._chain, asset, "", agreement or "")
        return found.spent if agreement is None else found.agreement

    def remaining(self, asset: str) -> int:
        """What may still be charged in total, in nano-units; below 0 after caps were lowered."""
        return self._existing(asset).budget.budget_nano - self.spent(asset)

    def left(self, asset: str) -> list[Left]:
        """What each of the account's caps leaves, the one on everything first."""
        return left(self._chain, self._existing(asset))

    def epsilon(self, asset: str, units: int = 1) -> float:
        """The ε of everything ever charged to ``asset`` (composed privacy loss distribution).

        Of what officers have booked for lost rows nobody knows the steps: then it is the ε of the
        whole Rényi divergence, and infinite for several units.

        Args:
            asset: an account's.
            units: for somebody to whom so many of the account's units belong.
        """
        if forfeited(self._chain, asset):
            budget = self._existing(asset).budget
            if units > 1:
                return math.inf
            return converted(budget.order, self.spent(asset) / NANO, budget.delta)
        rows = self._chain.query(
            "SELECT noise_multiplier, sampling_rate, sum(steps) FROM charges "
            "WHERE asset = ? AND state <> 'REFUNDED' GROUP BY 1, 2",
            (asset,),
        )
        delta = self._existing(asset).budget.delta
        return epsilon({(s, q): steps for s, q, steps in rows}, delta, units)

    def charges(self, asset: str) -> int:
        """How many charges there are, refunds not counted."""
        kinds = ((RESERVED, 1), (REFUNDED, -1))
        count = "SELECT count(*) FROM entries WHERE asset = ? AND kind = ?"
        return sum(sign * int(self._chain.query(count, (asset, k))[0][0]) for k, sign in kinds)

    def history(self, asset: str) -> list[Charge]:
        """All charges to ``asset``, the oldest first."""
        names = ", ".join(Charge.__dataclass_fields__)
        rows = self._chain.query(
            f"SELECT {names} FROM charges WHERE asset = ? ORDER BY seq",  # noqa: S608
            (asset,),
        )
        return [Charge(*row) for row in rows]

    def latched(self, asset: str, agreement: str, step: str) -> frozenset[int]:
        """The rounds of an agreement in which a step of a protocol was answered."""
        rows = self._chain.query(
            "SELECT body ->> '$.round' FROM entries WHERE asset = ? AND kind = ? "
            "AND body ->> '$.agreement' = ? AND body ->> '$.step' = ?",
            (asset, LATCHED, agreement, step),
        )
        return frozenset(int(number) for (number,) in rows)

    # What auditors and witnesses look at.

    @property
    def identity(self) -> str:
        """Names this ledger: the hash of its first row; empty while there is none."""
        first = self._chain.entry("seq = 1")
        return first.hash if first else ""

    @property
    def head(self) -> str:
        """Hash of the last row; see :meth:`verify`."""
        return self._chain.head

    def witnessed(self, seen: CountersignedHead) -> None:
        """Keeps what a witness has countersigned.

        Raises:
            PrivacyError: it is not signed.
            LedgerDamaged: it is of another ledger, or this one was set back.
        """
        seen.check(frozenset([seen.witness]))
        with self._writing():
            self._check_witnessed([seen])
            last = self._chain.entry("asset = '' AND kind = 'WITNESSED'")
            if last is None or last.values != seen.plain():
                self._chain.append(WITNESSED, "", seen.plain())

    def check_witnessed(self, witnessed: Sequence[CountersignedHead]) -> None:
        """Whether all heads are there, or officers have acknowledged that their rows are lost.

        Args:
            witnessed: what others have countersigned, checked by the caller.

        Raises:
            LedgerDamaged: the ledger was set back, or is another one.
        """
        self._check_witnessed(witnessed)

    def acknowledge(self, known: Acknowledgement) -> None:
        """Books all that may have been spent in rows that were lost, on every account.

        Nothing is left to be spent then, until officers raise the cap: what is above the highest
        cap before is what may still be spent.

        Raises:
            PrivacyError: too few officers have signed, it is of another ledger or of less than was
                permitted, or nothing was lost.
        """
        with self._writing():
            accounts = self._under_policy()
            force = _in_force(accounts)
            if force is None:
                raise PrivacyError("there is no account yet", "open one with the policy")
            known.check(force)
            if known.ledger != self.identity:
                raise PrivacyError("the acknowledgement is for another ledger")
            if self._found(known.lost, known.head):
                raise PrivacyError("that head is not lost, or was acknowledged before")
            highest = max(self._caps_ever())
            if known.epsilon < highest:
                raise PrivacyError(f"ε = {highest:g} was in force, and {known.epsilon:g} is signed")
            for account in accounts:
                self._forfeit(account, known)

    def verify(self, head: str | None = None) -> int:
        """Checks every row, and every total against the rows before it.

        Args:
            head: a :attr:`head` of earlier; that row must still be there.

        Returns:
            The number of rows.

        Raises:
            LedgerDamaged: names the first row that is not as this class would have written it.
        """
        return verify(self._chain, head)

    def verified(self, wait: float | None = 0.0) -> bool:
        """Whether the rows that were there at the opening are known to be in order.

        Args:
            wait: seconds to wait for it; None waits as long as it takes.

        Raises:
            LedgerDamaged: they are not.
        """
        return self._verification is None or self._verification.check(wait)

    def export(self) -> Iterator[str]:
        """Every row as one line of JSON, with its hash."""
        for entry in self._chain.rows():
            line = asdict(entry) | {"body": entry.values}
            yield json.dumps(line, sort_keys=True, ensure_ascii=False, allow_nan=False)

    def _writing(self) -> AbstractContextManager[None]:
        self.verified()
        return self._chain.writing()

    def _opened(self, account: Account) -> Account:
        self._chain.append(OPENED, account.asset, account.plain())
        return account

    def _forfeit(self, account: Account, known: Acknowledgement) -> None:
        before = totals(self._chain, account.asset, "", "")
        nano = known.forfeited(account, before.spent)
        body = {
            "acknowledgement": known.plain(),
            "spent_nano": before.spent + nano,
            "charged_nano": before.charged + nano,
            "forfeited_nano": forfeited(self._chain, account.asset) + nano,
        }
        self._chain.append(FORFEITED, account.asset, body)

    def _acknowledged(self) -> Acknowledgement | None:
        last = self._chain.entry("kind = 'FORFEITED'")
        return Acknowledgement.read(last.values["acknowledgement"]) if last else None

    def _caps_ever(self) -> list[float]:
        """The total caps of all policies that were in force."""
        rows = self._chain.query(
            "SELECT DISTINCT body ->> '$.caps.total.epsilon' FROM entries "
            "WHERE kind = 'ADOPTED' OR (kind = 'OPENED' AND NOT body ->> '$.seeded')"
        )
        return [float(epsilon) for (epsilon,) in rows]

    def _existing(self, asset: str) -> Account:
        account = self.account(asset)
        if account is None:
            raise PrivacyError(f"asset {asset} has no account", "open one with its budget first")
        return account

    def _check_policy(self, policy: SignedPolicy) -> None:
        """The first policy needs its signatures; after it, accounts are opened under that one."""
        force = _in_force(self._under_policy())
        if force is None:
            policy.check(None)
        elif policy.policy != force:
            raise PrivacyError(
                f"version {force.version} of the policy is in force, not {policy.policy.version}",
                "adopt the new version first",
            )

    def _under_policy(self) -> list[Account]:
        """The accounts that are no simulation's."""
        return [account for account in self.accounts() if not account.seeded]

    def _armed(self, asset: str, agreement: str, number: int) -> Entry | None:
        return self._chain.entry(
            "asset = ? AND body ->> '$.agreement' = ? AND body ->> '$.round' = ? "
            "AND kind = 'ARMED'",
            (asset, agreement, number),
        )

    def _charge(self, receipt: Receipt | ChargeId) -> Entry:
        entry = self._chain.entry("seq = ?", (receipt.seq,))
        if entry is None or (entry.kind, entry.hash) != (RESERVED, receipt.hash):
            raise PrivacyError(f"receipt {receipt.seq} is not of this ledger")
        if "of" in entry.values:
            raise PrivacyError(f"row {receipt.seq} is part of the charge in row {_of(entry)}")
        return entry

    def _reserved(self, seq: int) -> Entry:
        """The first row of the charge that a row of it belongs to."""
        (entry,) = self._chain.rows_from(seq, 1)
        return self._reserved(_of(entry)) if "of" in entry.values else entry

    def _rows(self, charge: Entry) -> list[Entry]:
        """All rows of a charge, one for each of its accounts, its own first."""
        number = len(_others(charge))
        return [charge, *(self._chain.rows_from(charge.seq + 1, number) if number else ())]

    def _check_state(self, charge: Entry, wanted: str) -> None:
        state = self._state(charge.seq)
        if state != wanted:
            raise PrivacyError(f"the charge of receipt {charge.seq} is {state}, not {wanted}")

    def _state(self, charge: int) -> str:
        state = self._chain.query("SELECT state FROM charges WHERE seq = ?", (charge,))
        return str(state[0][0])

    def _check_witnessed(self, witnessed: Sequence[CountersignedHead]) -> None:
        for seen in witnessed:
            if self._found(seen.ledger, seen.head):
                continue
            if seen.ledger != self.identity:
                what = "a countersigned head is of another ledger"
            else:
                what = "the ledger is behind a head that was countersigned: it was set back"
            raise LedgerDamaged(f"{what} (ledger {seen.ledger}, head {seen.head})", LOST)

    def _found(self, ledger: str, head: str) -> bool:
        """Whether a head is a row's, or officers have acknowledged that it is lost."""
        if ledger == self.identity and self._chain.entry("hash = ?", (head,)) is not None:
            return True
        lost = "kind = 'FORFEITED' AND body ->> '$.acknowledgement.{}' = ?"
        where = f"{lost.format('lost')} AND {lost.format('head')}"
        return self._chain.entry(where, (ledger, head)) is not None


def _in_force(accounts: Sequence[Account]) -> OrganizationPolicy | None:
    """The policy of accounts that are no simulation's: it is one for all."""
    signed = accounts[0].policy if accounts else None
    return signed.policy if signed else None


def _other(account: Account) -> PrivacyError:
    return PrivacyError(
        f"asset {account.asset} has an account with another budget, "
        f"ε = {account.budget.epsilon:g} for a {account.unit} at order {account.budget.order:g}",
        "a budget is fixed when it is created; go on with that one",
    )


def _receipt(account: Account, entry: Entry) -> Receipt:
    """Of a charge that is durable."""
    return Receipt(**asdict(_paid(account, entry)), maker=LEDGER)


def _paid(account: Account, entry: Entry) -> Paid:
    values = entry.values
    return Paid(
        seq=entry.seq,
        hash=entry.hash,
        asset=account.asset,
        agreement=values["agreement"],
        task=values["task"],
        round=values["round"],
        unit=account.unit,
        epsilon=account.budget.epsilon,
        delta=account.budget.delta,
        noise_multiplier=values["noise_multiplier"],
        sampling_rate=values["sampling_rate"],
        steps=values["steps"],
        cost_nano=values["cost_nano"],
        seeded=account.seeded,
    )


def _others(charge: Entry) -> list[str]:
    """The accounts that a charge is of beside its own."""
    others: list[str] = charge.values.get("others", [])
    return others


def _of(entry: Entry) -> int:
    return int(entry.values["of"])


def _check_once(assets: Sequence[str]) -> None:
    if len(set(assets)) < len(assets):
        raise PrivacyError("an account would pay twice for one release", "name each asset once")


def _check_alike(one: Account, other: Account) -> None:
    """Whether two accounts can pay for one release together."""
    for name, first, second in (
        ("unit", one.unit, other.unit),
        ("δ", one.budget.delta, other.budget.delta),
        ("kind", one.seeded, other.seeded),
    ):
        if first != second:
            raise PrivacyError(
                f"the accounts {one.asset} and {other.asset} are not alike: their {name} differs",
                "accounts that pay together protect the same unit",
            )


def _charged(
    cost: Cost, agreement: str, purpose: str, task: str, number: int, cohort: int
) -> dict[str, Any]:
    """What the row of a charge says of what it is for; refused before others wait to write.

    Looking up the price may take a second.
    """
    _validate.count(round=number, cohort=cohort)
    _validate.text(agreement=agreement, purpose=purpose, task=task)
    _check_price(cost)
    return {
        "agreement": agreement,
        "purpose": purpose,
        "task": task,
        "round": number,
        "noise_multiplier": float(cost.noise_multiplier),
        "sampling_rate": float(cost.sampling_rate),
        "steps": cost.steps,
        "cost_nano": cost.nano,
    }


def _digest(message: bytes) -> str:
    return hashlib.sha256(message).hexdigest()


def _check_price(cost: Cost) -> None:
    least = price(cost.order, cost.noise_multiplier, cost.sampling_rate, cost.steps)
    if cost.nano < least:
        raise PrivacyError(f"a cost of {cost.nano} is below its price, {least}")


def _check_order(cost: Cost, account: Account) -> None:
    if cost.order != account.budget.order:
        raise PrivacyError(
            f"a cost at order {cost.order:g} cannot be charged to an account "
            f"of order {account.budget.order:g}"
        )
